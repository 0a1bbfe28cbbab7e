// postgres.js: pipelines by default and names every statement it prepares.
'use strict'

const { pipeline } = require('node:stream/promises')
const { Readable } = require('node:stream')
const postgres = require('postgres')
const { assert, main, range, refused, running, within, URL, LARGE, CONNECTIONS } = require('./checks')

async function using(work, options = {}) {
  const sql = postgres(URL, { max: 1, onnotice: () => {}, ssl: process.env.PGSSLMODE === 'disable' ? false : 'verify-full', ...options })
  try {
    return await work(sql)
  } finally {
    await sql.end()
  }
}

const plain = (rows) => rows.map((row) => ({ ...row }))

main({
  simple: () =>
    using(async (sql) => {
      assert.deepEqual(plain(await sql.unsafe('select 6 * 7 as a, null as b')), [{ a: 42, b: null }])
      const [first, second] = await sql`select 1 as n; select 'two' as t`.simple()
      assert.deepEqual([plain(first), plain(second)], [[{ n: 1 }], [{ t: 'two' }]])
    }),

  parameters: () =>
    using(async (sql) => {
      const blob = Buffer.from([0, 255])
      const rows = await sql`select ${'1099511627776'}::int8 as a, ${'naïve'}::text as b, ${blob}::bytea as c, ${[1, 2]}::int[] as d`
      assert.deepEqual(plain(rows), [{ a: '1099511627776', b: 'naïve', c: blob, d: [1, 2] }])
    }),

  prepared: () =>
    using(
      (sql) =>
        Promise.all(
          range(20).map(async (number) => {
            for (const turn of range(20)) {
              const [row] = await sql.unsafe(`select $1::int + ${number % 4} as n`, [turn], { prepare: true })
              assert.equal(row.n, turn + (number % 4))
              const doubled = await sql.begin((tx) => tx`select ${turn}::int * 2 as n`)
              assert.equal(doubled[0].n, 2 * turn)
            }
          }),
        ),
      { max: 20 },
    ),

  rollback: () =>
    using(async (sql) => {
      await sql`create table rolled (n int)`
      await sql
        .begin(async (tx) => {
          await tx`insert into rolled values (${1})`
          throw new Error('on purpose')
        })
        .catch((error) => assert.equal(error.message, 'on purpose'))
      assert.deepEqual(plain(await sql`select n from rolled`), [])
      await sql.begin((tx) => [tx`insert into rolled values (2)`, tx`insert into rolled values (3)`])
      assert.deepEqual(plain(await sql`select n from rolled order by n`), [{ n: 2 }, { n: 3 }])
    }),

  error_then_reuse: () =>
    using(async (sql) => {
      for (const _ of range(3)) {
        await refused(sql`select 1 / ${0}::int`, '22012')
        assert.equal((await sql`select ${5}::int as n`)[0].n, 5)
      }
      await refused(sql.begin((tx) => tx`select no_such_column`), '42703')
      assert.equal((await sql`select 6 as n`)[0].n, 6)
      // Sent together: the failure of one must not touch its neighbours.
      const three = await Promise.allSettled([sql`select 1 as n`, sql`select 1 / ${0}::int`, sql`select 3 as n`])
      assert.deepEqual(three.map((one) => one.status), ['fulfilled', 'rejected', 'fulfilled'])
      assert.equal(three[2].value[0].n, 3)
    }),

  copy_in: () =>
    using(async (sql) => {
      await sql`create table copied (n int, t text)`
      const lines = range(10000).map((n) => `${n}\trow ${n}\n`)
      await pipeline(Readable.from(lines), await sql`copy copied from stdin`.writable())
      assert.equal((await sql`select sum(n) as s from copied`)[0].s, '49995000')
    }),

  copy_out: () =>
    using(async (sql) => {
      const stream = await sql`copy (select generate_series(1, 5000)) to stdout`.readable()
      const chunks = await stream.toArray()
      assert.equal(Buffer.concat(chunks).toString(), range(5000).map((n) => `${n + 1}\n`).join(''))
    }),

  cancel: () =>
    using(async (sql) => {
      const query = sql`select pg_sleep(30)`
      const outcome = refused(within(10000, query), '57014')
      await using((other) => running(async (text) => (await other.unsafe(text))[0].n))
      query.cancel()
      await outcome
      assert.equal((await sql`select ${7}::int as n`)[0].n, 7)
    }),

  large_row: () =>
    using(async (sql) => {
      const text = 'x'.repeat(LARGE)
      assert.ok((await sql`select ${text}::text as t`)[0].t === text, 'an 8 MiB text changed on its way')
      const blob = Buffer.alloc(LARGE, Buffer.from(range(256)))
      assert.ok(blob.equals((await sql`select ${blob}::bytea as b`)[0].b), '8 MiB of bytea changed on their way')
    }),

  hundred_connections: () =>
    using(
      async (sql) => {
        const reserved = await Promise.all(range(CONNECTIONS).map(() => sql.reserve()))
        await Promise.all(
          reserved.map(async (one, number) => {
            await one`begin`
            assert.equal((await one`select ${number}::int as n from pg_sleep(0.01)`)[0].n, number)
            await one`commit`
            one.release()
          }),
        )
      },
      { max: CONNECTIONS },
    ),
})

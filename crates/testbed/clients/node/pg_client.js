// node-postgres (`pg`): unnamed statements by default, named ones on request, and its own pool.
'use strict'

const { once } = require('node:events')
const { pipeline } = require('node:stream/promises')
const { Readable } = require('node:stream')
const { Client, Pool, Query } = require('pg')
const copy = require('pg-copy-streams')
const { assert, main, range, refused, running, within, URL, LARGE, CONNECTIONS } = require('./checks')

async function using(work) {
  const client = new Client({ connectionString: URL })
  await client.connect()
  try {
    return await work(client)
  } finally {
    await client.end()
  }
}

const value = async (client, text, values) => Object.values((await client.query(text, values)).rows[0])[0]

main({
  simple: () =>
    using(async (client) => {
      assert.deepEqual((await client.query('select 6 * 7 as a, null as b')).rows, [{ a: 42, b: null }])
      const [first, second] = await client.query("select 1 as n; select 'two' as t")
      assert.deepEqual([first.rows, second.rows], [[{ n: 1 }], [{ t: 'two' }]])
    }),

  parameters: () =>
    using(async (client) => {
      const query = 'select $1::int8 as a, $2::text as b, $3::bytea as c, $4::int[] as d'
      const { rows } = await client.query(query, ['1099511627776', 'naïve', Buffer.from([0, 255]), [1, 2]])
      assert.deepEqual(rows[0], { a: '1099511627776', b: 'naïve', c: Buffer.from([0, 255]), d: [1, 2] })
    }),

  prepared: () =>
    Promise.all(
      range(20).map((number) =>
        using(async (client) => {
          for (const turn of range(20)) {
            // Every client uses the same name for a text of its own.
            const named = { name: 'add', text: `select $1::int + ${number} as n`, values: [turn] }
            assert.deepEqual((await client.query(named)).rows, [{ n: turn + number }])
            await client.query('begin')
            const doubled = { name: 'double', text: 'select $1::int * 2 as n', values: [turn] }
            assert.deepEqual((await client.query(doubled)).rows, [{ n: 2 * turn }])
            await client.query('commit')
          }
        }),
      ),
    ),

  rollback: () =>
    using(async (client) => {
      await client.query('create table rolled (n int)')
      await client.query('begin')
      await client.query('insert into rolled values ($1)', [1])
      await client.query('rollback')
      assert.equal(await value(client, 'select count(*) from rolled'), '0')
      await client.query('begin; insert into rolled values (2); commit')
      assert.equal(await value(client, 'select n from rolled'), 2)
    }),

  error_then_reuse: () =>
    using(async (client) => {
      for (const _ of range(3)) {
        await refused(client.query('select 1 / $1::int', [0]), '22012')
        assert.equal(await value(client, 'select $1::int', [5]), 5)
      }
      await client.query('begin')
      await refused(client.query('select no_such_column'), '42703')
      await refused(client.query('select 1'), '25P02')
      await client.query('rollback')
      assert.equal(await value(client, 'select 6'), 6)
    }),

  copy_in: () =>
    using(async (client) => {
      await client.query('create table copied (n int, t text)')
      const lines = range(10000).map((n) => `${n}\trow ${n}\n`)
      await pipeline(Readable.from(lines), client.query(copy.from('copy copied from stdin')))
      assert.equal(await value(client, 'select sum(n) from copied'), '49995000')
      await refused(pipeline(Readable.from(['x\ty\n']), client.query(copy.from('copy copied from stdin'))), '22P02')
      assert.equal(await value(client, 'select count(*) from copied'), '10000')
    }),

  copy_out: () =>
    using(async (client) => {
      const stream = client.query(copy.to('copy (select generate_series(1, 5000)) to stdout'))
      const chunks = await stream.toArray()
      assert.equal(Buffer.concat(chunks).toString(), range(5000).map((n) => `${n + 1}\n`).join(''))
    }),

  cancel: () =>
    using(async (client) => {
      const query = new Query('select pg_sleep(30)')
      const outcome = refused(within(10000, once(query, 'end')), '57014')
      client.query(query)
      await using((other) => running((text) => value(other, text)))
      new Client({ connectionString: URL }).cancel(client, query)
      await outcome
      assert.equal(await value(client, 'select 7'), 7)
    }),

  large_row: () =>
    using(async (client) => {
      const text = 'x'.repeat(LARGE)
      assert.ok((await value(client, 'select $1::text', [text])) === text, 'an 8 MiB text changed on its way')
      const blob = Buffer.alloc(LARGE, Buffer.from(range(256)))
      assert.ok(blob.equals(await value(client, 'select $1::bytea', [blob])), '8 MiB of bytea changed on their way')
    }),

  hundred_connections: async () => {
    const pool = new Pool({ connectionString: URL, max: CONNECTIONS })
    const clients = await Promise.all(range(CONNECTIONS).map(() => pool.connect()))
    await Promise.all(
      clients.map(async (client, number) => {
        await client.query('begin')
        assert.equal(await value(client, 'select $1::int from pg_sleep(0.01)', [number]), number)
        await client.query('commit')
        client.release()
      }),
    )
    await pool.end()
  },
})

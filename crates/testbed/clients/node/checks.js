// The frame of every Node client: runs the checks in order and prints `ok NAME` for each that passed.
'use strict'

const assert = require('node:assert/strict')

const URL = process.env.DATABASE_URL
const LARGE = 8 * 1024 * 1024
const CONNECTIONS = 100

/** Expects `promise` to fail with the SQLSTATE `code`. */
async function refused(promise, code) {
  const error = await promise.then(() => null, (error) => error)
  assert.ok(error, `expected SQLSTATE ${code}, but it passed`)
  assert.equal(error.code, code, error.message)
}

/** Fails when `promise` takes longer than `ms`. */
async function within(ms, promise) {
  let timer
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`took longer than ${ms} ms`)), ms)
  })
  return Promise.race([promise, late]).finally(() => clearTimeout(timer))
}

async function run(checks) {
  for (const [name, check] of Object.entries(checks)) {
    const started = performance.now()
    await check()
    console.log(`ok ${name} ${Math.round(performance.now() - started)} ms`)
  }
}

const main = (checks) =>
  run(checks).then(
    () => process.exit(0),
    (error) => {
      console.error(error)
      process.exit(1)
    },
  )

const range = (count) => Array.from({ length: count }, (_, index) => index)

/** Resolves once PostgreSQL runs a pg_sleep(30); `count` asks it with the given query. */
async function running(count) {
  const query = "select count(*)::int as n from pg_stat_activity where state = 'active' and query = 'select pg_sleep(30)'"
  while ((await count(query)) === 0) await new Promise((resolve) => setTimeout(resolve, 10))
}

module.exports = { assert, main, range, refused, running, within, URL, LARGE, CONNECTIONS }

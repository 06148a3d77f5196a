// Judges tokens with panva's jose: a JSON string per line in, a verdict per line out.

import { readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { createRequire } from 'node:module'
import { pathToFileURL } from 'node:url'

const policy = JSON.parse(readFileSync(process.argv[2], 'utf8'))
// A module is looked for beside the file that asks; ours is not beside the packages.
const entry = createRequire(process.argv[3] + '/').resolve('jose')
const { createLocalJWKSet, jwtVerify } = await import(pathToFileURL(entry).href)

const keys = createLocalJWKSet(policy.jwks)
const options = {
  algorithms: ['RS256'],
  issuer: policy.issuer,
  audience: policy.audiences,
  clockTolerance: policy.leeway,
  requiredClaims: ['exp'],
}

async function judge(token) {
  try {
    await jwtVerify(token, keys, options)
    return 'accepted'
  } catch (error) {
    return error.code ?? error.name
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(JSON.stringify({ jose: await judge(JSON.parse(line)) }) + '\n')
}

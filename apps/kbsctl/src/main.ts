#!/usr/bin/env node
import { processTerminal, run } from './index.ts'

process.exitCode = await run(process.argv.slice(2), processTerminal())

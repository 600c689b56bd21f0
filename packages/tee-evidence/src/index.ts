export * from './rejection.ts'
export * from './verifier.ts'

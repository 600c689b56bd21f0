export { postgresAvailable } from './postgres-programs.ts'
export { type PostgresOptions, type PostgresServer, startPostgres } from './postgres-server.ts'

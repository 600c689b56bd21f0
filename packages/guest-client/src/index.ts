export { type Attester, sampleAttester } from './attester.ts'
export {
  type Answer,
  type Connection,
  type ConnectionOptions,
  createConnection,
  type Fetch,
  type FetchInit,
  guestUserAgent,
} from './connection.ts'
export { createGuest, type Guest, type GuestOptions, type Passport } from './guest.ts'
export { type ErrorInformation, GuestError, type GuestErrorCode } from './guest-error.ts'
export type { InitData } from './handshake.ts'
export { getResourceWithPassport, type PassportRequest } from './passport-client.ts'
export { baseUrl, resourceUrl } from './resource-url.ts'

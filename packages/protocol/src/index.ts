export {
  decodeBase64,
  decodeBase64Url,
  decodeBase64UrlNoPad,
  decodeHex,
  decodeUtf8,
  EncodingError,
  encodeBase64,
  encodeBase64Url,
  encodeHex,
  encodeUtf8,
} from './encoding.ts'
export {
  isJsonObject,
  JsonDecimal,
  type JsonLimits,
  type JsonObject,
  JsonSyntaxError,
  type JsonValue,
  jsonObject,
  parseJson,
  stringifyJson,
} from './json.ts'
export { parseTee, type Tee, type TeeClass, teeClass, tees } from './tee.ts'

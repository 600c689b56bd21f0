import { isJsonObject, type JsonValue, parseJson, stringifyJson } from '@passport-kbs/protocol'
import { AttestationRefused, AttestationUnavailable, ReferenceValueError } from '../attestation-service.ts'
import { type Ask, method } from './calls.ts'
import {
  type ReferenceValueQueryRequest,
  type ReferenceValueQueryResponse,
  type ReferenceValueRegisterRequest,
  referenceValueServiceDefinition,
} from './proto.ts'
import { remoteFailure } from './remote-failure.ts'

const registerMethod = method<ReferenceValueRegisterRequest, object>(
  referenceValueServiceDefinition,
  'RegisterReferenceValue',
)
const queryMethod = method<ReferenceValueQueryRequest, ReferenceValueQueryResponse>(
  referenceValueServiceDefinition,
  'QueryReferenceValue',
)

/** `reference.ReferenceValueProviderService` (spec 02 §1.2), asked. @throws ReferenceValueError, AttestationUnavailable */
export function referenceValueCalls(ask: Ask, who: string) {
  const refused = (error: unknown): never => {
    const failure = remoteFailure(error, who)
    if (failure instanceof AttestationRefused)
      throw new ReferenceValueError(failure.message, { cause: error })
    throw failure
  }
  return {
    /** Answers the names of the values, where the envelope shows them. */
    async register(envelope: JsonValue): Promise<readonly string[]> {
      await ask(registerMethod, { message: stringifyJson(envelope) }).catch(refused)
      return namesIn(envelope)
    },
    /** Undefined where the name is not known. */
    async query(name: string): Promise<JsonValue | undefined> {
      const { reference_value_results: text } = await ask(queryMethod, { reference_value_id: name }).catch(
        refused,
      )
      return text === undefined ? undefined : parseValue(text, who)
    },
  }
}

/** For the audit trail; other envelopes than `sample` are read by the remote service only. */
function namesIn(envelope: JsonValue): readonly string[] {
  const payload = isJsonObject(envelope) && envelope.type === 'sample' ? envelope.payload : undefined
  if (typeof payload !== 'string') return []
  const values = parseValue(Buffer.from(payload, 'base64').toString(), 'the message')
  return isJsonObject(values) ? Object.keys(values) : []
}

function parseValue(text: string, who: string): JsonValue {
  try {
    return parseJson(text)
  } catch (cause) {
    throw new AttestationUnavailable(`${who} answers what is not JSON`, { cause })
  }
}

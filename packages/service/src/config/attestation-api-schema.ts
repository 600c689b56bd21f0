import { z } from 'zod'
import { filePath, sockets } from './schema-values.ts'

const apiScopes = () => z.array(z.enum(['attest', 'administer'])).max(2)

export const attestationApiSchema = z.strictObject({
  grpc_sockets: sockets()
    .default(['127.0.0.1:50004'])
    .describe('Ours: addresses of the gRPC services, each `ip:port`; TLS as `[http_server]`.'),
  client_ca: filePath()
    .optional()
    .describe('Ours: PEM file with the CA of client certificates, for gRPC and REST.'),
  clients: z
    .array(
      z
        .strictObject({
          name: z.string().min(1).max(256).describe('Ours: name in the audit trail.'),
          certificate_name: z
            .string()
            .regex(/^[^\s,"]{1,1024}$/, 'must be one DNS name or URI')
            .optional()
            .describe('Ours: DNS name or URI in the certificate’s subject alternative name.'),
          token_file: filePath()
            .optional()
            .describe(
              'Ours: file with a bearer token of at least 32 characters, or up to four, one a line; read again when it changes.',
            ),
          scopes: apiScopes()
            .min(1)
            .default(['attest'])
            .describe(
              'Ours: `attest`: have evidence evaluated; `administer`: attestation policies and reference values.',
            ),
        })
        .refine((client) => (client.certificate_name === undefined) !== (client.token_file === undefined), {
          message: 'set exactly one of certificate_name and token_file',
        }),
    )
    .max(256)
    .default([])
    .describe('Ours: who may call, such as a KBS1.'),
  anonymous: apiScopes()
    .optional()
    .describe(
      'Ours: scopes of callers without credentials. Default: all on loopback, none elsewhere. A Trustee KBS has no credentials.',
    ),
})

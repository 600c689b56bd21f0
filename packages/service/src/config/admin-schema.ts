import { z } from 'zod'
import { filePath, webAddress } from './schema-values.ts'

const identityProviderSchema = z
  .strictObject({
    issuer: z.string().min(1).max(1024).optional().describe('Value that `iss` must have.'),
    audience: z.string().min(1).max(1024).optional().describe('Value that must be in `aud`.'),
    public_key_uri: webAddress()
      .optional()
      .describe(
        'PEM public key (EC, RSA or Ed25519), or several in one file: path, `file://` or `https://`.',
      ),
    jwk_set_uri: webAddress()
      .optional()
      .describe('JWK set, or OpenID discovery base address: path, `file://` or `https://`.'),
    ca: filePath()
      .optional()
      .describe('Ours: PEM file with the CA that the https source is checked against.'),
    default_role: z
      .string()
      .min(1)
      .max(256)
      .optional()
      .describe('Ours: role of a verified token that has no `role` claim. Absent: such a token is refused.'),
  })
  .refine((provider) => provider.public_key_uri !== undefined || provider.jwk_set_uri !== undefined, {
    message: 'needs a key source: set public_key_uri or jwk_set_uri',
  })

const aclSchema = z.strictObject({
  role: z.string().min(1).max(256).describe('Role that this entry is for.'),
  allowed_endpoints: z
    .string()
    .min(1)
    .max(4096)
    .describe('Regular expression (RE2 syntax), `^/kbs…$`, that the whole decoded path must match.'),
  methods: z
    .array(z.enum(['GET', 'POST', 'PUT', 'DELETE']))
    .min(1)
    .optional()
    .describe('Ours: methods that this entry allows. Absent: all.'),
})

export const adminSchema = z.strictObject({
  authorization_mode: z
    .enum(['InsecureAllowAll', 'DenyAll', 'AuthenticatedAuthorization'])
    .default('DenyAll')
    .describe('Who may administrate. `InsecureAllowAll` is refused off loopback in the production profile.'),
  authentication: z
    .strictObject({
      bearer_jwt: z
        .strictObject({
          identity_providers: z.array(identityProviderSchema).min(1).max(32).describe('Tried in order.'),
        })
        .describe('Administrators show a JWT.'),
    })
    .optional(),
  authorization: z
    .strictObject({
      regex_acl: z.strictObject({
        acls: z.array(aclSchema).min(1).max(256).describe('Allowed where one entry fits.'),
      }),
    })
    .optional(),
})

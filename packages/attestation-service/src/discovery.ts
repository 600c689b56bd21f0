/**
 * The document at `/.well-known/openid-configuration` by which relying parties find the keys of an issuer (spec 02
 * W-9). There is no authorization endpoint: nobody logs in here, tokens are minted for evidence.
 * @param issuer `iss` of the tokens.
 * @param jwksUri absolute address of the JWK set.
 */
export function discoveryDocument(issuer: string, jwksUri: string): Readonly<Record<string, unknown>> {
  return {
    issuer,
    jwks_uri: jwksUri,
    id_token_signing_alg_values_supported: ['ES256'],
    subject_types_supported: ['public'],
    response_types_supported: ['none'],
  }
}

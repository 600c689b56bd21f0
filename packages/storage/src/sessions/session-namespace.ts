/** Spec 01 §5.3. */
export const SESSION_NAMESPACE = 'kbs_protocol_session'

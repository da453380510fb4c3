/// Which token, and how it is used.
public struct PKCS11Configuration: Sendable {
    public let uri: PKCS11URI
    /// As many sessions are open at most, and one more while keys are administered.
    public let sessions: Int
    public let mechanism: PKCS11MechanismChoice
    /// After it a call is given up, waiting for a session included; an administrator's after four times as long.
    /// PKCS#11 itself has no such limit.
    public let timeLimit: Duration

    /// - Parameter sessions: 1 to 256.
    public init(
        uri: PKCS11URI, sessions: Int = 8, mechanism: PKCS11MechanismChoice = .auto,
        timeLimit: Duration = .seconds(30)
    ) {
        precondition((1...256).contains(sessions), "1 to 256 sessions")
        self.timeLimit = timeLimit
        self.uri = uri
        self.sessions = sessions
        self.mechanism = mechanism
    }
}

/// How secrets are sealed.
public enum PKCS11MechanismChoice: String, Sendable, CaseIterable {
    /// The first of the others that the token has.
    case auto
    /// `CKM_AES_GCM`; the sealing context is associated data.
    case gcm
    /// `CKM_AES_KEY_WRAP_KWP`, `CKM_AES_KEY_WRAP_PAD` or `CKM_AES_KEY_WRAP`.
    case keyWrapPad
    /// `CKM_AES_CBC`: data keys alone.
    case cbc
}

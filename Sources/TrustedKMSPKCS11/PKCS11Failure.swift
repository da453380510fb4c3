import KeyManagement

/// Why work on a session ended.
enum PKCS11Failure: Error, Sendable {
    /// The module answered a call, by its name in the standard, with a `CKR_` code.
    case call(String, UInt)
    /// As ``call``, of one that may have been done all the same, and is not asked for again.
    case onlyOnce(String, UInt)
    /// No token of the module matches the URI, by its attributes.
    case noToken(String)
    /// Anything that the port has a word for.
    case kms(KMSError)

    /// The call that failed, as one that is not asked for again.
    var once: PKCS11Failure {
        if case .call(let call, let code) = self { .onlyOnce(call, code) } else { self }
    }

    var mayBeRepeated: Bool {
        if case .onlyOnce = self { false } else { true }
    }

    /// Session, login or token are gone: worth another session.
    var isLoss: Bool {
        let code: UInt
        switch self {
        case .noToken: return true
        case .kms: return false
        case .call(let call, let answer):
            // Some modules have no other word for an HSM that is out of reach; these calls have little else to fail by.
            if isUnspecific, ["C_OpenSession", "C_GetSlotList", "C_GetTokenInfo", "C_GetSessionInfo"].contains(call) {
                return true
            }
            code = answer
        case .onlyOnce(_, let answer): code = answer
        }
        return [
            Cryptoki.deviceError, Cryptoki.deviceRemoved, Cryptoki.sessionClosed, Cryptoki.sessionHandleInvalid,
            Cryptoki.tokenNotPresent, Cryptoki.tokenNotRecognized, Cryptoki.userNotLoggedIn,
            Cryptoki.notInitialized, Cryptoki.slotIDInvalid,
        ].contains(code)
    }

    /// A login that counts as one that may have been of a wrong PIN, and as a loss: not made again at once.
    var isLossOfLogin: Bool {
        guard case .call("C_Login", let code) = self else { return false }
        return code == Cryptoki.deviceError
    }

    /// An object was destroyed between finding and using it: worth another look.
    var isStale: Bool {
        guard case .call(_, let code) = self else { return false }
        return [
            Cryptoki.objectHandleInvalid, Cryptoki.keyHandleInvalid, Cryptoki.wrappingKeyHandleInvalid,
            Cryptoki.unwrappingKeyHandleInvalid,
        ].contains(code)
    }

    /// The module says that what it was given to open is not authentic, or of no possible length.
    var isNotAuthentic: Bool {
        guard case .call(_, let code) = self else { return false }
        return [
            Cryptoki.dataInvalid, Cryptoki.dataLengthRange, Cryptoki.encryptedDataInvalid,
            Cryptoki.encryptedDataLengthRange, Cryptoki.aeadDecryptFailed, Cryptoki.wrappedKeyInvalid,
            Cryptoki.wrappedKeyLengthRange,
        ].contains(code)
    }

    /// The code with which modules say, among other things, that a tag does not match.
    var isUnspecific: Bool {
        guard case .call(_, let code) = self else { return false }
        return code == Cryptoki.generalError || code == Cryptoki.functionFailed
    }

    /// What the port's callers are told.
    var kmsError: KMSError {
        switch self {
        case .kms(let error): error
        case .noToken(let attributes):
            .unavailable(
                reason: "no token matches \(attributes): check that it is plugged in, or its HSM reachable, and "
                    + "correct kms.pkcs11.uri by what pkcs11-tool --list-token-slots shows")
        case .call(let call, let code): Self.kmsError(call, code)
        case .onlyOnce(let call, let code):
            isLoss
                ? .unavailable(
                    reason: "\(call) answered \(Cryptoki.name(code)), and may have been done all the same: before "
                        + "asking again, see whether the key has the new version "
                        + "(pkcs11-tool --login --list-objects)")
                : Self.kmsError(call, code)
        }
    }

    private static func kmsError(_ call: String, _ code: UInt) -> KMSError {
        let said = "\(call) answered \(Cryptoki.name(code))"
        switch code {
        case Cryptoki.deviceError, Cryptoki.deviceRemoved, Cryptoki.tokenNotPresent, Cryptoki.tokenNotRecognized,
            Cryptoki.slotIDInvalid:
            return .unavailable(reason: "\(said): check that the token is plugged in, or its HSM reachable")
        case Cryptoki.sessionClosed, Cryptoki.sessionHandleInvalid, Cryptoki.userNotLoggedIn, Cryptoki.notInitialized:
            return .unavailable(
                reason: "\(said), after a new login too: see whether another program resets the token")
        case Cryptoki.sessionCount:
            return .unavailable(reason: "\(said): the token has no session left, lower kms.pkcs11.sessions")
        case Cryptoki.deviceMemory, Cryptoki.hostMemory:
            return .unavailable(reason: "\(said): the token is full, destroy key versions that nothing needs")
        case Cryptoki.pinIncorrect, Cryptoki.pinInvalid, Cryptoki.pinLengthRange:
            return .denied(
                reason: "\(said): correct the PIN and restart; it is not tried again, because tokens lock after a few")
        case Cryptoki.pinLocked:
            return .denied(reason: "\(said): the security officer must set the user PIN anew")
        case Cryptoki.pinExpired:
            return .denied(reason: "\(said): change the user PIN with the token's own tool, then restart")
        case Cryptoki.userPINNotInitialized:
            return .denied(reason: "\(said): the security officer must set a user PIN first")
        case Cryptoki.userAnotherAlreadyLoggedIn:
            return .denied(reason: "\(said): this process is logged in to the token as another user")
        case Cryptoki.tokenWriteProtected, Cryptoki.sessionReadOnly, Cryptoki.attributeReadOnly,
            Cryptoki.actionProhibited:
            return .denied(
                reason: "\(said): the token does not let this user change keys; let its administrator do it")
        case Cryptoki.keyFunctionNotPermitted:
            return .denied(reason: "\(said): the key's attributes forbid this use")
        case Cryptoki.mechanismInvalid, Cryptoki.mechanismParameterInvalid, Cryptoki.functionNotSupported:
            return .notSupported(
                operation: "\(call) as asked (\(Cryptoki.name(code))): choose another kms.pkcs11.mechanism")
        default:
            return .unavailable(reason: "\(said): see the log of the module")
        }
    }
}

/// The codes of PKCS#11 that this adapter uses, by their names in the standard without `CK`.
enum Cryptoki {
    // CKR_
    static let ok: UInt = 0x000
    static let hostMemory: UInt = 0x002
    static let slotIDInvalid: UInt = 0x003
    static let generalError: UInt = 0x005
    static let functionFailed: UInt = 0x006
    static let cannotLock: UInt = 0x00A
    static let attributeReadOnly: UInt = 0x010
    static let attributeSensitive: UInt = 0x011
    static let attributeTypeInvalid: UInt = 0x012
    static let actionProhibited: UInt = 0x01B
    static let dataInvalid: UInt = 0x020
    static let dataLengthRange: UInt = 0x021
    static let deviceError: UInt = 0x030
    static let deviceMemory: UInt = 0x031
    static let deviceRemoved: UInt = 0x032
    static let encryptedDataInvalid: UInt = 0x040
    static let encryptedDataLengthRange: UInt = 0x041
    static let aeadDecryptFailed: UInt = 0x042
    static let functionNotSupported: UInt = 0x054
    static let keyHandleInvalid: UInt = 0x060
    static let keyFunctionNotPermitted: UInt = 0x068
    static let mechanismInvalid: UInt = 0x070
    static let mechanismParameterInvalid: UInt = 0x071
    static let objectHandleInvalid: UInt = 0x082
    static let pinIncorrect: UInt = 0x0A0
    static let pinInvalid: UInt = 0x0A1
    static let pinLengthRange: UInt = 0x0A2
    static let pinExpired: UInt = 0x0A3
    static let pinLocked: UInt = 0x0A4
    static let sessionClosed: UInt = 0x0B0
    static let sessionCount: UInt = 0x0B1
    static let sessionHandleInvalid: UInt = 0x0B3
    static let sessionReadOnly: UInt = 0x0B5
    static let templateInconsistent: UInt = 0x0D1
    static let tokenNotPresent: UInt = 0x0E0
    static let tokenNotRecognized: UInt = 0x0E1
    static let tokenWriteProtected: UInt = 0x0E2
    static let unwrappingKeyHandleInvalid: UInt = 0x0F0
    static let userAlreadyLoggedIn: UInt = 0x100
    static let userNotLoggedIn: UInt = 0x101
    static let userPINNotInitialized: UInt = 0x102
    static let userAnotherAlreadyLoggedIn: UInt = 0x104
    static let wrappedKeyInvalid: UInt = 0x110
    static let wrappedKeyLengthRange: UInt = 0x112
    static let wrappingKeyHandleInvalid: UInt = 0x113
    static let bufferTooSmall: UInt = 0x150
    static let notInitialized: UInt = 0x190
    static let alreadyInitialized: UInt = 0x191

    // CKO_ and CKK_
    static let publicKey: UInt = 2
    static let privateKey: UInt = 3
    static let secretKey: UInt = 4
    static let genericSecret: UInt = 0x10
    static let aes: UInt = 0x1F
    static let edwards: UInt = 0x40

    // CKM_
    static let edwardsKeyPairGeneration: UInt = 0x1055
    static let eddsa: UInt = 0x1057
    static let aesKeyGeneration: UInt = 0x1080
    static let aesCBC: UInt = 0x1082
    static let aesGCM: UInt = 0x1087
    static let aesKeyWrap: UInt = 0x2109
    static let aesKeyWrapPad: UInt = 0x210A
    static let aesKeyWrapKWP: UInt = 0x210B

    // CKF_ of mechanisms
    static let encrypts: UInt = 0x100
    static let decrypts: UInt = 0x200
    static let signs: UInt = 0x800
    static let generates: UInt = 0x8000
    static let generatesPairs: UInt = 0x10000
    static let wraps: UInt = 0x20000
    static let unwraps: UInt = 0x40000

    // CKF_ of modules, tokens and sessions
    static let osLocking: UInt = 2
    static let hasGenerator: UInt = 0x1
    static let tokenInitialized: UInt = 0x400
    /// `CKF_USER_PIN_COUNT_LOW`: a wrong PIN was given since the last login.
    static let pinCountLow: UInt = 0x10000
    static let pinFinalTry: UInt = 0x20000
    static let pinLockedFlag: UInt = 0x40000
    static let readWrite: UInt = 2
    static let serial: UInt = 4

    // CKS_ and CKU_
    static let readOnlyUser: UInt = 1
    static let readWriteUser: UInt = 3
    static let user: UInt = 1

    static let noHandle: UInt = 0
    /// What a length says where there is none to tell.
    static let unavailable = UInt.max

    /// The standard's name of a `CKR_` code, or its number.
    static func name(_ code: UInt) -> String {
        names[code] ?? "CKR 0x\(String(code, radix: 16))"
    }

    private static let names: [UInt: String] = [
        hostMemory: "CKR_HOST_MEMORY", slotIDInvalid: "CKR_SLOT_ID_INVALID", generalError: "CKR_GENERAL_ERROR",
        functionFailed: "CKR_FUNCTION_FAILED", cannotLock: "CKR_CANT_LOCK",
        attributeReadOnly: "CKR_ATTRIBUTE_READ_ONLY", attributeSensitive: "CKR_ATTRIBUTE_SENSITIVE",
        attributeTypeInvalid: "CKR_ATTRIBUTE_TYPE_INVALID", actionProhibited: "CKR_ACTION_PROHIBITED",
        dataInvalid: "CKR_DATA_INVALID", dataLengthRange: "CKR_DATA_LEN_RANGE", deviceError: "CKR_DEVICE_ERROR",
        deviceMemory: "CKR_DEVICE_MEMORY", deviceRemoved: "CKR_DEVICE_REMOVED",
        encryptedDataInvalid: "CKR_ENCRYPTED_DATA_INVALID",
        encryptedDataLengthRange: "CKR_ENCRYPTED_DATA_LEN_RANGE", aeadDecryptFailed: "CKR_AEAD_DECRYPT_FAILED",
        functionNotSupported: "CKR_FUNCTION_NOT_SUPPORTED", keyHandleInvalid: "CKR_KEY_HANDLE_INVALID",
        keyFunctionNotPermitted: "CKR_KEY_FUNCTION_NOT_PERMITTED", mechanismInvalid: "CKR_MECHANISM_INVALID",
        mechanismParameterInvalid: "CKR_MECHANISM_PARAM_INVALID", objectHandleInvalid: "CKR_OBJECT_HANDLE_INVALID",
        pinIncorrect: "CKR_PIN_INCORRECT", pinInvalid: "CKR_PIN_INVALID", pinLengthRange: "CKR_PIN_LEN_RANGE",
        pinExpired: "CKR_PIN_EXPIRED", pinLocked: "CKR_PIN_LOCKED", sessionClosed: "CKR_SESSION_CLOSED",
        sessionCount: "CKR_SESSION_COUNT", sessionHandleInvalid: "CKR_SESSION_HANDLE_INVALID",
        sessionReadOnly: "CKR_SESSION_READ_ONLY", templateInconsistent: "CKR_TEMPLATE_INCONSISTENT",
        tokenNotPresent: "CKR_TOKEN_NOT_PRESENT", tokenNotRecognized: "CKR_TOKEN_NOT_RECOGNIZED",
        tokenWriteProtected: "CKR_TOKEN_WRITE_PROTECTED",
        unwrappingKeyHandleInvalid: "CKR_UNWRAPPING_KEY_HANDLE_INVALID",
        userAlreadyLoggedIn: "CKR_USER_ALREADY_LOGGED_IN", userNotLoggedIn: "CKR_USER_NOT_LOGGED_IN",
        userPINNotInitialized: "CKR_USER_PIN_NOT_INITIALIZED",
        userAnotherAlreadyLoggedIn: "CKR_USER_ANOTHER_ALREADY_LOGGED_IN",
        wrappedKeyInvalid: "CKR_WRAPPED_KEY_INVALID", wrappedKeyLengthRange: "CKR_WRAPPED_KEY_LEN_RANGE",
        wrappingKeyHandleInvalid: "CKR_WRAPPING_KEY_HANDLE_INVALID", bufferTooSmall: "CKR_BUFFER_TOO_SMALL",
        notInitialized: "CKR_CRYPTOKI_NOT_INITIALIZED", alreadyInitialized: "CKR_CRYPTOKI_ALREADY_INITIALIZED",
    ]
}

/// The attributes that this adapter reads or writes.
enum Attribute: UInt, CaseIterable, Sendable {
    case objectClass = 0x000
    case token = 0x001
    case isPrivate = 0x002
    case label = 0x003
    case value = 0x011
    case keyType = 0x100
    case id = 0x102
    case sensitive = 0x103
    case encrypt = 0x104
    case decrypt = 0x105
    case wrap = 0x106
    case unwrap = 0x107
    case sign = 0x108
    case verify = 0x10A
    case derive = 0x10C
    case valueLength = 0x161
    case extractable = 0x162
    case local = 0x163
    case neverExtractable = 0x164
    case alwaysSensitive = 0x165
    case curve = 0x180
    case point = 0x181

    /// The standard's name.
    var name: String {
        switch self {
        case .objectClass: "CKA_CLASS"
        case .token: "CKA_TOKEN"
        case .isPrivate: "CKA_PRIVATE"
        case .label: "CKA_LABEL"
        case .value: "CKA_VALUE"
        case .keyType: "CKA_KEY_TYPE"
        case .id: "CKA_ID"
        case .sensitive: "CKA_SENSITIVE"
        case .encrypt: "CKA_ENCRYPT"
        case .decrypt: "CKA_DECRYPT"
        case .wrap: "CKA_WRAP"
        case .unwrap: "CKA_UNWRAP"
        case .sign: "CKA_SIGN"
        case .verify: "CKA_VERIFY"
        case .derive: "CKA_DERIVE"
        case .valueLength: "CKA_VALUE_LEN"
        case .extractable: "CKA_EXTRACTABLE"
        case .local: "CKA_LOCAL"
        case .neverExtractable: "CKA_NEVER_EXTRACTABLE"
        case .alwaysSensitive: "CKA_ALWAYS_SENSITIVE"
        case .curve: "CKA_EC_PARAMS"
        case .point: "CKA_EC_POINT"
        }
    }
}

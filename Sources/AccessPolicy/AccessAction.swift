/// What a principal asks to do. The raw value is the action's name in policy files.
public enum AccessAction: String, Sendable, Hashable, CaseIterable {
    /// Make a key set, for oneself or for a group.
    case register
    /// Read what is told of a key set, its manifest, and of its jobs.
    case show
    case publicKeyFetch = "public-key.fetch"
    case evaluationKeysFetch = "evaluation-keys.fetch"
    case encrypt
    /// Have a model or circuit evaluated on ciphertexts, and fetch the resulting ciphertexts.
    case evaluate
    /// Decrypt what HKMS encrypted, or what a registered evaluation unit vouches for.
    case decryptJob = "decrypt.job"
    /// Decrypt any ciphertext: as good as having the secret key.
    case decryptAny = "decrypt.any"
    /// Encrypt, evaluate and decrypt in one request, under a registered or an ephemeral key set.
    case predict
    case rotate
    case destroy
    /// Suspend and resume key sets, and grant decryptions anew.
    case administer
    /// Read the audit log.
    case audit
    /// Read which models and circuits there are.
    case modelsList = "models.list"

    /// Whether it is done to one key set, so that rules can name which.
    public var concernsKeySet: Bool {
        switch self {
        case .audit, .modelsList: false
        default: true
        }
    }

    /// Whether it may be for one model or circuit, so that rules can name which.
    public var concernsModel: Bool {
        switch self {
        case .register, .encrypt, .evaluate, .decryptJob, .predict: true
        default: false
        }
    }

    /// The action and what is done in the course of it: to deny a part is to deny the whole, and who may do the whole
    /// holds its parts.
    var closure: ActionSet {
        switch self {
        case .decryptAny: [.decryptAny, .decryptJob]
        case .predict: [.predict, .encrypt, .evaluate, .decryptJob]
        default: [self]
        }
    }
}

/// Some of the actions.
struct ActionSet: Hashable, Sendable, ExpressibleByArrayLiteral {
    private var bits: UInt32 = 0

    init(_ actions: some Sequence<AccessAction>) {
        for action in actions { insert(action) }
    }

    init(arrayLiteral actions: AccessAction...) { self.init(actions) }

    var isEmpty: Bool { bits == 0 }
    /// In the order of their declaration.
    var actions: [AccessAction] { AccessAction.allCases.filter(contains) }

    func contains(_ action: AccessAction) -> Bool { bits & Self.bit(action) != 0 }
    func intersects(_ other: ActionSet) -> Bool { bits & other.bits != 0 }
    mutating func insert(_ action: AccessAction) { bits |= Self.bit(action) }
    mutating func formUnion(_ other: ActionSet) { bits |= other.bits }

    /// With all parts of what is in it.
    var closure: ActionSet {
        var closure = self
        for action in actions { closure.formUnion(action.closure) }
        return closure
    }

    private static let masks = Dictionary(
        uniqueKeysWithValues: AccessAction.allCases.enumerated().map { ($1, UInt32(1) << UInt32($0)) })

    private static func bit(_ action: AccessAction) -> UInt32 { masks[action] ?? 0 }
}

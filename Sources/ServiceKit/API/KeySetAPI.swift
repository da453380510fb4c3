import FoundationEssentials

// Bodies of the gateway's API, docs/api.md. Names are those of the JSON.

/// Encryption parameters as they travel.
public struct ParametersBody: Codable, Sendable, Hashable {
    /// `ckks` or `bfv`
    public var scheme: String
    public var logN: Int
    public var q: [UInt64]
    public var p: [UInt64]
    public var alpha: Int
    /// BFV: the plaintext modulus, a prime that is 1 modulo 2N.
    public var t: UInt64?

    public init(scheme: String, logN: Int, q: [UInt64], p: [UInt64], alpha: Int, t: UInt64? = nil) {
        self.scheme = scheme
        self.logN = logN
        self.q = q
        self.p = p
        self.alpha = alpha
        self.t = t
    }
}

/// `POST /v1/keysets`: exactly one of model, preset and parameters.
public struct RegisterRequest: Codable, Sendable, Hashable {
    /// The client's own id of this request; repeating it gives the same key set.
    public var requestId: String
    /// `direct` or `envelope`.
    public var mode: String
    /// The model or circuit that decides parameters and evaluation keys.
    public var model: String?
    /// A named preset, see docs/api.md.
    public var preset: String?
    public var parameters: ParametersBody?
    /// With preset or parameters: make a relinearization key (true by default).
    public var relinearization: Bool?
    /// With preset or parameters: rotations by slots, positive to the left; in BFV of both rows.
    public var rotations: [Int]?
    /// CKKS: make the key of complex conjugation.
    public var conjugation: Bool?
    /// BFV: make the key that swaps the two rows.
    public var rowSwap: Bool?
    /// One of the caller's groups, to own the key set instead of the caller.
    public var group: String?
    /// Decryption of any ciphertext; only where the configuration grants it.
    public var decryptAny: Bool?
    /// Decryptions of the key set's life. Where results are flooded the noise is made for so many, and the gateway's
    /// configuration decides by default; where they are raw there is no limit by default.
    public var decryptionBudget: Int?
    /// `flooded`, the default, or `raw`, which has to be asked for and is for ever.
    public var release: String?
    /// Flooded: what results may be off by.
    public var precision: Double?
    /// Flooded: s of docs/release.md.
    public var statisticalBits: Int?
    /// Flooded: `owner` or `shared`.
    public var audience: String?

    public init(
        requestId: String, mode: String, model: String? = nil, preset: String? = nil, release: String? = nil
    ) {
        self.requestId = requestId
        self.mode = mode
        self.model = model
        self.preset = preset
        self.release = release
    }
}

/// A key set as it is told to its owner. Nothing secret.
public struct KeySetInfo: Codable, Sendable, Hashable {
    public struct Owner: Codable, Sendable, Hashable {
        public var kind: String
        public var issuer: String
        public var subject: String

        public init(kind: String, issuer: String, subject: String) {
            self.kind = kind
            self.issuer = issuer
            self.subject = subject
        }
    }
    public struct KMS: Codable, Sendable, Hashable {
        public var provider: String
        public var key: String
        public var keyVersion: Int?
        /// `principal` where the principal's own credential opens it; absent for the gateway's.
        public var authority: String?

        public init(provider: String, key: String, keyVersion: Int?, authority: String? = nil) {
            self.provider = provider
            self.key = key
            self.keyVersion = keyVersion
            self.authority = authority
        }
    }
    public struct Counters: Codable, Sendable, Hashable {
        public var encryptions: Int
        public var decryptions: Int
        /// Absent where there is no limit.
        public var decryptionsLeft: Int?
        public var failures: Int

        public init(encryptions: Int, decryptions: Int, decryptionsLeft: Int?, failures: Int) {
            self.encryptions = encryptions
            self.decryptions = decryptions
            self.decryptionsLeft = decryptionsLeft
            self.failures = failures
        }
    }
    public struct Object: Codable, Sendable, Hashable {
        /// `public-key`, `relinearization`, `galois-3`.
        public var name: String
        /// Galois element, 0 where the object is no Galois key.
        public var galois: UInt32
        public var level: Int
        public var bytes: Int
        /// SHA-256 in lower-case hex.
        public var digest: String

        public init(name: String, galois: UInt32, level: Int, bytes: Int, digest: String) {
            self.name = name
            self.galois = galois
            self.level = level
            self.bytes = bytes
            self.digest = digest
        }
    }
    public struct Sizes: Codable, Sendable, Hashable {
        public var publicKey: Int
        public var evaluationKeys: Int
        /// Sealed seed, and sealed data key in envelope mode; nil where the object store does not give them.
        public var sealedSeed: Int?

        public init(publicKey: Int, evaluationKeys: Int, sealedSeed: Int?) {
            self.publicKey = publicKey
            self.evaluationKeys = evaluationKeys
            self.sealedSeed = sealedSeed
        }
    }

    public var id: String
    public var state: String
    public var mode: String
    public var tenant: String
    public var owner: Owner
    public var created: Date
    public var activated: Date?
    public var destroyed: Date?
    /// When it was seen that nobody can open the seed any more; absent where old copies may still be opened.
    public var shredded: Date?
    public var kms: KMS
    public var suite: Int
    public var generation: UInt32
    public var parameters: ParametersBody
    public var parameterDigest: String
    public var manifestVersion: Int
    public var manifestDigest: String
    /// The model that the keys were made for.
    public var model: String?
    /// `raw`, `flooded` or `exact`.
    public var release: String
    /// The noise of flooded results.
    public var flooding: FloodingBody?
    /// What parameters and noise were chosen and why, in lines of text: in the answer to a registration.
    public var releaseReport: String?
    public var decryptAny: Bool
    public var exposed: Bool
    public var tainted: Bool
    public var counters: Counters
    public var objects: [Object]
    public var bytes: Sizes

    public init(
        id: String, state: String, mode: String, tenant: String, owner: Owner, created: Date, activated: Date?,
        destroyed: Date?, shredded: Date? = nil, kms: KMS, suite: Int, generation: UInt32, parameters: ParametersBody,
        parameterDigest: String, manifestVersion: Int, manifestDigest: String, model: String?, release: String,
        flooding: FloodingBody? = nil, decryptAny: Bool, exposed: Bool, tainted: Bool, counters: Counters,
        objects: [Object], bytes: Sizes
    ) {
        self.id = id
        self.state = state
        self.mode = mode
        self.tenant = tenant
        self.owner = owner
        self.created = created
        self.activated = activated
        self.destroyed = destroyed
        self.shredded = shredded
        self.kms = kms
        self.suite = suite
        self.generation = generation
        self.parameters = parameters
        self.parameterDigest = parameterDigest
        self.manifestVersion = manifestVersion
        self.manifestDigest = manifestDigest
        self.model = model
        self.release = release
        self.flooding = flooding
        self.decryptAny = decryptAny
        self.exposed = exposed
        self.tainted = tainted
        self.counters = counters
        self.objects = objects
        self.bytes = bytes
    }
}

/// `GET /v1/keysets`
public struct KeySetList: Codable, Sendable, Hashable {
    public var keySets: [KeySetInfo]
    public init(keySets: [KeySetInfo]) { self.keySets = keySets }
}

/// `GET /v1/keysets/{id}/evaluation-keys`
public struct EvaluationKeyList: Codable, Sendable, Hashable {
    public var evaluationKeys: [KeySetInfo.Object]
    public init(evaluationKeys: [KeySetInfo.Object]) { self.evaluationKeys = evaluationKeys }
}

/// `DELETE /v1/keysets/{id}`
public struct DestroyResponse: Codable, Sendable, Hashable {
    public var keySet: String
    public var state: String
    /// `tombstoned` or `shredded`.
    public var erasure: String
    public var date: Date
    /// What that erasure means, in a sentence.
    public var meaning: String

    public init(keySet: String, state: String, erasure: String, date: Date, meaning: String) {
        self.keySet = keySet
        self.state = state
        self.erasure = erasure
        self.date = date
        self.meaning = meaning
    }
}

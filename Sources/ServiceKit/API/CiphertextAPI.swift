import FoundationEssentials

/// One value of a record: a number, or null for a missing one.
public typealias RecordBody = [String: Double?]

/// `POST /v1/keysets/{id}/encrypt`: vectors, or records of a model; under BFV integers, or records of a circuit.
public struct EncryptRequest: Codable, Sendable, Hashable {
    public struct Vector: Codable, Sendable, Hashable {
        public var real: [Double]
        /// As many as `real`, or absent.
        public var imaginary: [Double]?

        public init(real: [Double], imaginary: [Double]? = nil) {
            self.real = real
            self.imaginary = imaginary
        }
    }
    /// One ciphertext each; with a model they are its inputs, packed as it takes them.
    public var vectors: [Vector]?
    /// log2 of the scale; the key set decides by default.
    public var scaleBits: Int?
    /// The key set decides by default.
    public var level: Int?
    /// With records: the model whose input description encodes them.
    public var model: String?
    /// As many ciphertexts as the model's packing needs.
    public var records: [RecordBody]?
    /// BFV: one ciphertext each, of up to N integers, the first N/2 of them the first row.
    public var integers: [[Int64]]?
    /// With integers: they are in 0 ..< t, and not between -t/2 and t/2.
    public var unsigned: Bool?
    /// With model, which names a circuit: as many ciphertexts as its evaluations take.
    public var integerRecords: [IntegerRecordBody]?

    /// Members that take whole numbers alone.
    public static let integerMembers: Set<String> = ["integers", "integerRecords"]

    public init(vectors: [Vector], scaleBits: Int? = nil, level: Int? = nil) {
        self.vectors = vectors
        self.scaleBits = scaleBits
        self.level = level
    }

    public init(model: String, records: [RecordBody]) {
        self.model = model
        self.records = records
    }

    public init(integers: [[Int64]], unsigned: Bool? = nil, level: Int? = nil) {
        self.integers = integers
        self.unsigned = unsigned
        self.level = level
    }

    public init(circuit: String, integerRecords: [IntegerRecordBody]) {
        model = circuit
        self.integerRecords = integerRecords
    }
}

/// Answer of encrypt where JSON is asked for; otherwise it is a bundle of the ciphertexts.
public struct EncryptResponse: Codable, Sendable, Hashable {
    public struct Item: Codable, Sendable, Hashable {
        /// SHA-256 in lower-case hex.
        public var digest: String
        /// Base64.
        public var ciphertext: String

        public init(digest: String, ciphertext: String) {
            self.digest = digest
            self.ciphertext = ciphertext
        }
    }
    public var ciphertexts: [Item]
    public init(ciphertexts: [Item]) { self.ciphertexts = ciphertexts }
}

/// Answer of `POST /v1/keysets/{id}/decrypt?count=N&complex=true&unsigned=true`, whose body is a bundle of ciphertexts.
public struct DecryptResponse: Codable, Sendable, Hashable {
    /// `flooded`, or `raw`: do not show these to others. See docs/release.md. `exact`: integers, without any noise.
    public var release: String
    /// The noise of flooded results.
    public var flooding: FloodingBody?
    /// Decryptions that the key set has left; absent where there is no limit.
    public var decryptionsLeft: Int?
    /// One a ciphertext; imaginary parts only where asked for. None under BFV.
    public var vectors: [EncryptRequest.Vector]
    /// BFV: one a ciphertext.
    public var integers: [[Int64]]?

    public init(
        release: String, flooding: FloodingBody? = nil, decryptionsLeft: Int? = nil, vectors: [EncryptRequest.Vector],
        integers: [[Int64]]? = nil
    ) {
        self.release = release
        self.flooding = flooding
        self.decryptionsLeft = decryptionsLeft
        self.vectors = vectors
        self.integers = integers
    }
}

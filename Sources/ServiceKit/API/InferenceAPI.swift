import FoundationEssentials

/// `GET /v1/models`
public struct ModelList: Codable, Sendable, Hashable {
    public var models: [ModelInfo]
    public init(models: [ModelInfo]) { self.models = models }
}

/// What a caller needs to know of a model.
public struct ModelInfo: Codable, Sendable, Hashable {
    public struct Input: Codable, Sendable, Hashable {
        public var name: String
        /// `scaled`, `binary`, `oneHot`
        public var encoding: String
        /// Lowest and highest value that is taken.
        public var range: [Double]?
        public var categories: [Double]?
        public var mayBeMissing: Bool

        public init(name: String, encoding: String, range: [Double]?, categories: [Double]?, mayBeMissing: Bool) {
            self.name = name
            self.encoding = encoding
            self.range = range
            self.categories = categories
            self.mayBeMissing = mayBeMissing
        }
    }
    public struct Target: Codable, Sendable, Hashable {
        public var column: String
        public var positiveAbove: Double
        public init(column: String, positiveAbove: Double) {
            self.column = column
            self.positiveAbove = positiveAbove
        }
    }
    public var name: String
    public var version: Int
    public var description: String
    /// Evaluation unit that runs it.
    public var unit: String
    /// SHA-256 of the model's file, lower-case hex.
    public var digest: String
    public var inputs: [Input]
    public var output: String
    public var threshold: Double
    public var labels: [String]
    /// Column that holds the truth, where a file has it.
    public var target: Target?
    /// Records that one evaluation takes.
    public var batch: Int
    /// Multiplications one after another.
    public var depth: Int
    public var parameters: ParametersBody
    /// log2 of the scale of inputs.
    public var scaleBits: Int
    /// Names of the evaluation keys that it needs.
    public var evaluationKeys: [String]

    public init(
        name: String, version: Int, description: String, unit: String, digest: String, inputs: [Input],
        output: String, threshold: Double, labels: [String], target: Target?, batch: Int, depth: Int,
        parameters: ParametersBody, scaleBits: Int, evaluationKeys: [String]
    ) {
        self.name = name
        self.version = version
        self.description = description
        self.unit = unit
        self.digest = digest
        self.inputs = inputs
        self.output = output
        self.threshold = threshold
        self.labels = labels
        self.target = target
        self.batch = batch
        self.depth = depth
        self.parameters = parameters
        self.scaleBits = scaleBits
        self.evaluationKeys = evaluationKeys
    }
}

/// `POST /v1/models/{model}/predict`: under a registered key set, or an ephemeral one.
public struct PredictRequest: Codable, Sendable, Hashable {
    public var keySet: String?
    /// Register, use and forget a key set within this request.
    public var ephemeral: Bool?
    /// Ephemeral: `flooded`, the default, or `raw`. Under a key set: what it must be; another one is refused.
    public var release: String?
    /// Ephemeral and flooded: what results may be off by.
    public var precision: Double?
    /// Ephemeral and flooded: s of docs/release.md.
    public var statisticalBits: Int?
    public var records: [RecordBody]

    public init(keySet: String?, ephemeral: Bool? = nil, release: String? = nil, records: [RecordBody]) {
        self.keySet = keySet
        self.ephemeral = ephemeral
        self.release = release
        self.records = records
    }
}

public struct PredictResponse: Codable, Sendable, Hashable {
    public struct Prediction: Codable, Sendable, Hashable {
        public var score: Double
        public var label: String
        public init(score: Double, label: String) {
            self.score = score
            self.label = label
        }
    }
    public struct Sizes: Codable, Sendable, Hashable {
        public var publicKey: Int
        public var evaluationKeys: Int
        public var encryptedSamples: Int
        public var encryptedPredictions: Int
        public init(publicKey: Int, evaluationKeys: Int, encryptedSamples: Int, encryptedPredictions: Int) {
            self.publicKey = publicKey
            self.evaluationKeys = evaluationKeys
            self.encryptedSamples = encryptedSamples
            self.encryptedPredictions = encryptedPredictions
        }
    }
    public var model: String
    public var keySet: String
    public var unit: String
    /// The job whose receipt vouches for the result.
    public var job: String
    /// `raw` or `flooded`.
    public var release: String
    /// The noise of flooded results.
    public var flooding: FloodingBody?
    /// Decryptions that the key set has left; absent where there is no limit, and for an ephemeral one.
    public var decryptionsLeft: Int?
    /// Ciphertexts that the records took.
    public var batches: Int
    public var predictions: [Prediction]
    public var bytes: Sizes

    public init(
        model: String, keySet: String, unit: String, job: String, release: String,
        flooding: FloodingBody? = nil, decryptionsLeft: Int? = nil, batches: Int, predictions: [Prediction],
        bytes: Sizes
    ) {
        self.model = model
        self.keySet = keySet
        self.unit = unit
        self.job = job
        self.release = release
        self.flooding = flooding
        self.decryptionsLeft = decryptionsLeft
        self.batches = batches
        self.predictions = predictions
        self.bytes = bytes
    }
}

/// `POST /v1/jobs?keyset=...&model=...` (body: a bundle of ciphertexts), `GET /v1/jobs/{id}`.
public struct JobInfo: Codable, Sendable, Hashable {
    public var id: String
    public var keySet: String
    public var model: String
    public var unit: String
    /// `open`, `evaluated` or `failed`.
    public var state: String
    public var failure: String?
    /// SHA-256 of each input, lower-case hex.
    public var inputs: [String]
    public var outputs: [String]
    /// SHA-256 of the receipt.
    public var receipt: String?
    public var created: Date
    public var finished: Date?

    public init(
        id: String, keySet: String, model: String, unit: String, state: String, failure: String?, inputs: [String],
        outputs: [String], receipt: String?, created: Date, finished: Date?
    ) {
        self.id = id
        self.keySet = keySet
        self.model = model
        self.unit = unit
        self.state = state
        self.failure = failure
        self.inputs = inputs
        self.outputs = outputs
        self.receipt = receipt
        self.created = created
        self.finished = finished
    }
}

/// `GET /v1/jobs`
public struct JobList: Codable, Sendable, Hashable {
    public var jobs: [JobInfo]
    public init(jobs: [JobInfo]) { self.jobs = jobs }
}

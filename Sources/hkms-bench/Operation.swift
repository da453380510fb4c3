/// What is timed. Raw values are names on the command line, in results and in scripts/bench.
enum Operation: String, CaseIterable {
    case secretKey = "secret-key"
    /// Secret and public key.
    case keyPair = "key-pair"
    /// At the highest level.
    case relinearizationKey = "relinearization-key"
    /// For one step, at the highest level.
    case rotationKey = "rotation-key"
    /// Secret, public, relinearization and twelve rotation keys.
    case keySet = "key-set"
    case encode
    /// Under the public key.
    case encrypt
    /// So many, one after another or on several threads.
    case encryptBatch = "encrypt-batch"
    case decrypt
    case decryptDecode = "decrypt-decode"
    case add
    /// By a plaintext, and in CKKS rescale.
    case plainMultiply = "plain-multiply"
    /// Multiply, relinearize, and in CKKS rescale.
    case multiply
    /// By one step; in BFV the rows.
    case rotate
    /// BFV's other rotation.
    case rotateColumns = "rotate-columns"

    static let batch = 32
    static var names: [String] { allCases.map(\.rawValue) }
}

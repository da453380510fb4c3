/// What is timed. Raw values are names on the command line, in results and in scripts/bench.
enum Operation: String, CaseIterable {
    case secretKey = "secret-key"
    /// Secret and public key.
    case keyPair = "key-pair"
    /// At the highest level.
    case relinearizationKey = "relinearization-key"
    /// For one step, at the highest level.
    case rotationKey = "rotation-key"
    case encode
    /// Under the public key.
    case encrypt
    case decrypt
    case decryptDecode = "decrypt-decode"
    case add
    /// By a plaintext, and rescale.
    case plainMultiply = "plain-multiply"
    /// Multiply, relinearize, rescale.
    case multiply
    /// By one step.
    case rotate

    static var names: [String] { allCases.map(\.rawValue) }
}

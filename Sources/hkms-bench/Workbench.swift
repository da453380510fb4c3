import HomomorphicEncryption
import RLWE

/// A key set and the operands of every operation of one scheme, each made when it is first needed.
protocol Workbench {
    associatedtype Plaintext
    var bench: KeyBench { get }
    /// What this scheme has, in the order of the table.
    var operations: [Operation] { get }
    /// The plaintext operand, made at the first call.
    func madePlaintext() throws -> Plaintext
    /// Both ciphertexts, made at the first call.
    func madeCiphertexts() throws -> (Ciphertext, Ciphertext)
    /// Once; the result is dropped.
    func perform(_ operation: Operation) throws
    /// What results are off by, against arithmetic in the clear.
    func check() throws -> any Encodable
    /// Bytes as serialized.
    func sizes() throws -> any Encodable
}

extension Workbench {
    /// Makes what the operation takes for granted.
    /// - Throws: ``BenchmarkError/noOperation(_:)`` for one that the scheme has not.
    func prepare(_ operation: Operation) throws {
        guard operations.contains(operation) else { throw BenchmarkError.noOperation(operation.rawValue) }
        switch operation {
        case .secretKey, .keyPair, .relinearizationKey, .rotationKey, .keySet, .encode: break
        case .encrypt, .encryptBatch:
            _ = try bench.publicKey()
            _ = try madePlaintext()
        case .plainMultiply:
            _ = try madeCiphertexts()
            _ = try madePlaintext()
        case .decrypt, .decryptDecode, .add: _ = try madeCiphertexts()
        case .multiply:
            _ = try madeCiphertexts()
            try bench.need(bench.relinearizationID)
        case .rotate:
            _ = try madeCiphertexts()
            try bench.need(bench.rotationID(steps: 1))
        case .rotateColumns:
            _ = try madeCiphertexts()
            try bench.need(bench.columnsID)
        }
    }

    /// Milliseconds of each repetition: at least one, fewer than `count` once `seconds` are over.
    func sample(_ operation: Operation, count: Int, seconds: Double?) throws -> [Double] {
        let clock = ContinuousClock()
        let begin = clock.now
        var result: [Double] = []
        result.reserveCapacity(count)
        for _ in 0..<count {
            let start = clock.now
            try perform(operation)
            let end = clock.now
            result.append(((end - start) / .nanoseconds(1)).rounded() / 1e6)
            if let seconds, end - begin > .seconds(seconds) { break }
        }
        return result
    }

    func made<Value>(_ value: Value?) throws -> Value {
        guard let value else { throw BenchmarkError.notPrepared }
        return value
    }

    /// So many encryptions, spread over the threads as a service's records are.
    func encryptBatch(_ encrypt: () throws -> Ciphertext) throws {
        try Parallelism.forEach(below: Operation.batch) { _ in _ = try encrypt() }
    }
}

import HomomorphicEncryption
import RealModule

/// What a ``BatchPlan`` is expected to take. Times are of one thread of the machine that the constants were measured on
/// (docs/inference.md): good for comparing plans, not for promises.
public struct BatchCost: Sendable, Hashable {
    /// Milliseconds of a prediction of the whole batch, and of its encryption.
    public let prediction: Double
    public let encryption: Double
    /// Bytes on the wire.
    public let sampleBytes: Int
    public let resultBytes: Int
    public let keyBytes: Int
    /// Of an encrypted model; 0 for one in the clear.
    public let modelBytes: Int

    /// In milliseconds: work, that of the server twice, which many clients share; and bytes at 8 Gbit/s, those of keys
    /// and models twice, which take memory besides.
    public var total: Double {
        2 * prediction + encryption + Double(sampleBytes + resultBytes + 2 * (keyBytes + modelBytes)) / 1_000_000
    }

    init(
        _ layout: BatchLayout, _ schedule: BatchSchedule, _ protection: WeightProtection, blocks: Int,
        keys: [EvaluationKeyID]
    ) {
        let parameters = schedule.parameters
        let degree = Double(parameters.degree)
        // Milliseconds a row: of a transform, of one term of two inner products, of one term of a weighted sum.
        // Rows of more than 64 KiB leave no room for others in a second-level cache.
        let crowding = parameters.logN > 13 ? 1.4 : 1
        let transform = 0.022 * crowding * degree * Double(parameters.logN) / (8192 * 13)
        let term = 0.0078 * degree / 8192
        let scalar = 0.0044 * degree / 8192
        // Of a uniform half that is made from its seed.
        let uniform = 0.018 * degree / 8192
        func bits(_ primes: some Sequence<UInt64>) -> Int { primes.reduce(0) { $0 + 64 - $1.leadingZeroBitCount } }
        func ciphertextBytes(_ level: Int, isSeeded: Bool = false) -> Int {
            144 + parameters.degree / (isSeeded ? 8 : 4) * bits(parameters.q.prefix(level))
        }
        func keySwitch(_ level: Int) -> Double {
            let digits = parameters.digitCount(level: level)
            let rows = level + parameters.p.count
            return Double(digits * rows + 2 * rows) * transform + Double(digits * rows) * term
        }
        func hoisted(_ level: Int) -> Double {
            let digits = parameters.digitCount(level: level)
            let rows = level + parameters.p.count
            // Digits that are made already are permuted.
            return Double(2 * rows) * transform + Double(2 * digits * rows) * term
        }
        var (work, count, polynomials, modelBytes, seededRows) = (0.0, layout.inputs.count, 2, 0, 0)
        for operation in schedule.operations {
            switch operation {
            case .relinearize(let level):
                work += Double(count) * keySwitch(level)
                polynomials = 2
            case .square(let level):
                work += Double(count * 4 * level) * term / 2
                polynomials = 3
            case .dense(let step):
                let (dense, level, dropped) = (step.layer, step.level, step.dropped)
                let terms = Double(dense.termCount)
                if dense.babies > 1 {
                    work += Double(dense.inputs) * (keySwitch(level) / 2 + Double(dense.babies - 1) * hoisted(level))
                }
                switch protection {
                case .encrypted, .publiclyEncrypted:
                    work += terms * Double(level) * 2.6 * term
                    let isSeeded = protection == .encrypted
                    seededRows += isSeeded ? dense.termCount * level : 0
                    modelBytes += (dense.termCount + dense.groups) * ciphertextBytes(level, isSeeded: isSeeded)
                case .plain where layout.positions == 1:
                    work += terms * Double(level * polynomials) * scalar
                case .plain: work += terms * Double(level * (polynomials - 1)) * term
                }
                let sums = Double(dense.groups * dense.giants)
                let left = level - dropped
                if protection.isEncrypted || polynomials == 3 { work += sums * keySwitch(level) }
                work += sums * Double(2 * dropped * level) * transform
                work += Double(dense.groups * (dense.giants - 1)) * keySwitch(left)
                for fold in dense.folds {
                    // The digits are turned for each key, and the ciphertext.
                    let products = parameters.digitCount(level: left) * (left + parameters.p.count)
                    work += Double(dense.groups) * keySwitch(left)
                    work += Double(dense.groups * ((fold.count - 1) * products + fold.count * left)) * term
                }
                polynomials = 2
                count = dense.groups
            }
        }
        // All blocks meet a weight while it is there.
        let expanded = BatchModel.keepsUniformHalves(modelBytes: modelBytes) ? 0 : Double(seededRows) * uniform
        prediction = Double(blocks) * work + expanded
        let inputs = blocks * layout.inputs.count
        encryption = Double(inputs) * (Double(4 * schedule.inputLevel) * transform + 0.2 * degree / 8192)
        sampleBytes = inputs * ciphertextBytes(schedule.inputLevel)
        resultBytes = blocks * ciphertextBytes(schedule.outputLevel)
        keyBytes = keys.reduce(0) { sum, key in
            sum + 144 + parameters.digitCount(level: key.level) * parameters.degree / 8
                * (bits(parameters.q.prefix(key.level)) + bits(parameters.p))
        }
        self.modelBytes = modelBytes
    }
}

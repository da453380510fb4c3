import HomomorphicEncryption
import RLWE
import TestSupport
import Testing

/// Random circuits of every operation, as deep as ``BFVNoiseBound`` lets them be, against integers modulo t. The
/// circuits are the same in every run; the randomness of encryption is not.
@Suite struct BFVRandomCircuitTests {
    private struct Tracked {
        var ciphertext: Ciphertext
        var values: [Int64]
        var bound: BFVNoiseBound
    }

    private struct Circuit {
        let bench: BFVBench
        let rotations: [Int]
        var random: SeededGenerator

        private var evaluator: BFVEvaluator { bench.evaluator }

        mutating func fresh() throws -> Tracked {
            let values = bench.random(random.next())
            return Tracked(
                ciphertext: try bench.encrypt(values), values: values,
                bound: try .publicKeyEncryption(bench.context))
        }

        func dropped(_ x: Tracked, to level: Int) throws -> Tracked {
            Tracked(
                ciphertext: try evaluator.dropLevel(x.ciphertext, to: level), values: x.values,
                bound: try x.bound.droppingLevel(to: level))
        }

        /// One operation on elements of the pool.
        /// - Returns: nil where the bound says that its result may not be decrypted.
        mutating func step(_ pool: [Tracked]) throws -> Tracked? {
            guard var x = pool.randomElement(using: &random), var y = pool.randomElement(using: &random) else {
                return nil
            }
            let level = min(x.ciphertext.level, y.ciphertext.level)
            let choice = Int.random(in: 0..<12, using: &random)
            if choice < 7 {
                (x, y) = (try dropped(x, to: level), try dropped(y, to: level))
            }
            let known = bench.random(random.next())
            let steps = rotations.randomElement(using: &random) ?? 0
            var result = x
            switch choice {
            case 0:
                result.bound = try x.bound.adding(y.bound)
                result.values = bench.sum(x.values, y.values)
            case 1:
                result.bound = try x.bound.adding(y.bound)
                result.values = bench.difference(x.values, y.values)
            case 2...5:
                result.bound = try x.bound.multiplied(by: y.bound)
                result.values = bench.product(x.values, y.values)
            case 6:
                result.bound = try x.bound.multiplied(by: x.bound)
                result.values = bench.product(x.values, x.values)
            case 7:
                result.bound = x.bound.addingPlaintext()
                result.values = bench.difference(x.values, known)
            case 8:
                result.bound = x.bound.multipliedByPlaintext()
                result.values = bench.product(x.values, known)
            case 9:
                result.bound = try x.bound.rotated()
                result.values = bench.rotated(x.values, by: steps)
            case 10:
                result.bound = try x.bound.rotated()
                result.values = bench.swapped(x.values)
            default:
                result.bound = try x.bound.droppingLevel(to: max(1, x.ciphertext.level - 1))
            }
            guard result.bound.marginBits > 0 else { return nil }
            let keys = bench.keys
            switch choice {
            case 0: result.ciphertext = try evaluator.add(x.ciphertext, y.ciphertext)
            case 1: result.ciphertext = try evaluator.subtract(x.ciphertext, y.ciphertext)
            case 2...5: result.ciphertext = try evaluator.multiply(x.ciphertext, y.ciphertext, keys: keys)
            case 6: result.ciphertext = try evaluator.square(x.ciphertext, keys: keys)
            case 7: result.ciphertext = try evaluator.subtract(x.ciphertext, bench.encoder.encode(known))
            case 8: result.ciphertext = try evaluator.multiply(x.ciphertext, bench.encoder.encode(known))
            case 9: result.ciphertext = try evaluator.rotateRows(x.ciphertext, by: steps, keys: keys)
            case 10: result.ciphertext = try evaluator.rotateColumns(x.ciphertext, keys: keys)
            default: result.ciphertext = try evaluator.dropLevel(x.ciphertext, to: result.bound.level)
            }
            return result
        }
    }

    @Test("results are exact while the bound allows them", arguments: BFVParameterPreset.all)
    func exact(preset: BFVParameterPreset) throws {
        let rotations = [1, -7]
        let bench = try BFVBench(preset.parameters, rotations: rotations, columns: true)
        let large = preset.parameters.logN > 14
        for seed in 0..<(SoakTests.enabled ? 8 : large ? 1 : 3) as Range<UInt64> {
            var circuit = Circuit(bench: bench, rotations: rotations, random: SeededGenerator(seed))
            var pool = try (0..<3).map { _ in try circuit.fresh() }
            var refused = 0
            var operations = 0
            // Until little fits any more.
            while refused < 6, operations < 150 {
                operations += 1
                guard let result = try circuit.step(pool) else {
                    refused += 1
                    continue
                }
                #expect(result.ciphertext.level == result.bound.level)
                #expect(try bench.decrypt(result.ciphertext) == result.values, "seed \(seed), operation \(operations)")
                pool[Int.random(in: pool.indices, using: &circuit.random)] = result
            }
            #expect(refused == 6, "the circuit reached the end of what the parameters stand")
            for element in pool {
                // Differences of relatives may have almost no noise: how far it is below the bound says nothing here.
                let noiseBits = try bench.noiseBits(element.ciphertext, of: element.values)
                #expect(noiseBits < element.bound.bits, "seed \(seed)")
            }
        }
    }
}

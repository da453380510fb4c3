import HomomorphicEncryption
import Testing

/// Random circuits to the last level of every preset, against complex doubles and, in a small ring, against
/// exact integers. The circuits are the same in every run; the randomness of encryption is not.
@Suite struct RandomCircuitTests {
    struct Size: Sendable, CustomTestStringConvertible {
        let preset: ParameterPreset
        let width: Int
        let operations: Int
        let seeds: Range<UInt64>
        var testDescription: String { preset.name }

        static let all: [Size] = ParameterPreset.all.map { preset in
            let large = preset.parameters.logN > 14
            return Size(
                preset: preset, width: large ? 1 : 3, operations: large ? 1 : 4,
                seeds: 0..<(SoakTests.enabled ? 8 : preset.parameters.logN < 14 ? 3 : 1))
        }
    }

    @Test("slots stay within the bound down to the last level", arguments: Size.all)
    func slots(size: Size) throws {
        let bench = try NoiseBench(size.preset)
        for seed in size.seeds {
            var circuit = try TrackedCircuit(bench, rotations: size.width == 1 ? [1] : [1, -7], seed: seed)
            let top = bench.context.maximumLevel
            var pool = try (0..<size.width).map { _ in try circuit.fresh(scale: bench.scale, level: top) }
            for level in stride(from: top, through: 1, by: -1) {
                // Rotations of large rings at high levels take most of the time.
                if size.width > 1 || level % 4 == 1 { try circuit.mix(&pool, operations: size.operations) }
                if size.width > 1 || level % 8 == 1 {
                    for element in pool {
                        #expect(element.ciphertext.level == level)
                        let slack = try circuit.slack(element)
                        #expect((0...6).contains(slack), "level \(level), seed \(seed)")
                    }
                }
                if level > 1 { try circuit.descend(&pool) }
            }
        }
    }

    @Test("exact integers agree, addition for addition and product for product")
    func integers() throws {
        let parameters = try DigitLayout(alpha: 2, specials: 2).parameters(primes: 4)
        for seed in 0..<(SoakTests.enabled ? 8 : 2) as Range<UInt64> {
            let bench = try NoiseBench(parameters, scaleBits: 54)
            var circuit = try TrackedCircuit(bench, rotations: [1, -7], exactly: true, seed: seed)
            var pool = try (0..<2).map { _ in try circuit.fresh(scale: bench.scale, level: 4) }
            for level in stride(from: 4, through: 1, by: -1) {
                try circuit.mix(&pool, operations: 4)
                for element in pool {
                    let slack = try #require(try circuit.exactSlack(element))
                    #expect((0...6).contains(slack), "level \(level), seed \(seed)")
                    #expect(try circuit.slack(element) >= 0)
                }
                if level > 1 { try circuit.descend(&pool) }
            }
        }
    }
}

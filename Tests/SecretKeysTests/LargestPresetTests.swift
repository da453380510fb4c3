import ComplexModule
import HomomorphicEncryption
import Testing

@Suite struct LargestPresetTests {
    @Test("ckks-16 encrypts, multiplies, rotates and decrypts at its highest level")
    func roundTrip() throws {
        let scheme = try Scheme1("ckks-16", rotations: [1])
        let (x, y) = (scheme.values(1), scheme.values(2))
        let evaluator = scheme.evaluator
        let product = try evaluator.rescale(
            evaluator.multiply(scheme.encrypt(x), scheme.encrypt(y), keys: scheme.keys))
        let rotated = try evaluator.rotate(product, by: 1, keys: scheme.keys)
        #expect(rotated.level == scheme.context.maximumLevel - 1)
        let expected = x.indices.map { x[($0 + 1) % x.count] * y[($0 + 1) % x.count] }
        #expect(try largestError(scheme.decrypt(rotated), expected) < 1e-3)
    }
}

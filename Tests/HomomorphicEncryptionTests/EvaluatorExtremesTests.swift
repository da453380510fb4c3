import HomomorphicEncryption
import RLWE
import Testing

@Suite struct EvaluatorExtremesTests {
    @Test("products of scales that no Double holds are refused like other large ones")
    func scales() throws {
        let context = try EncryptionContext.shared(try #require(ParameterPreset.named("ckks-12")).parameters)
        let zero = RNSPolynomial(basis: context.ciphertextBasis(level: 2), form: .evaluation)
        let evaluator = CKKSEvaluator(context)
        for scale in [0x1p40, 1e200, .greatestFiniteMagnitude] {
            let ciphertext = try Ciphertext(context: context, polynomials: [zero, zero], scale: scale)
            let plaintext = CKKSPlaintext(polynomial: zero, scale: scale)
            #expect(throws: HEError.self) { try evaluator.multiply(ciphertext, plaintext) }
            #expect(throws: HEError.self) { try evaluator.multiplyWithoutRelinearization(ciphertext, ciphertext) }
        }
        for scale in [0, 0.5, -1, .nan, .infinity, -.infinity] as [Double] {
            #expect(throws: HEError.self) {
                try Ciphertext(context: context, polynomials: [zero, zero], scale: scale)
            }
        }
    }
}

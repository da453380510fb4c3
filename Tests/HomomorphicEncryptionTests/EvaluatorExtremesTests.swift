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

    @Test(
        "a plaintext of a scale that is none is refused by name wherever it is used",
        arguments: [0, 0.5, -1, .nan, .signalingNaN, .infinity, -.infinity] as [Double])
    func plaintexts(scale: Double) throws {
        let context = try EncryptionContext.shared(try #require(ParameterPreset.named("ckks-12")).parameters)
        let zero = RNSPolynomial(basis: context.ciphertextBasis(level: 2), form: .evaluation)
        let ciphertext = try Ciphertext(context: context, polynomials: [zero, zero], scale: 1)
        let publicKey = try PublicKey(
            context: context, b: zero, rho: [UInt8](repeating: 0, count: 32), generation: 0)
        let (evaluator, encoder) = (CKKSEvaluator(context), try CKKSEncoder(context))
        let uses: [(CKKSPlaintext) throws -> Void] = [
            { _ = try evaluator.add(ciphertext, $0) }, { _ = try evaluator.subtract(ciphertext, $0) },
            { _ = try evaluator.multiply(ciphertext, $0) }, { _ = try publicKey.encrypt($0) },
            { _ = try encoder.decodeReal($0) }, { _ = try encoder.decodeComplex($0) },
        ]
        for (number, use) in uses.enumerated() {
            do {
                try use(CKKSPlaintext(polynomial: zero, scale: scale))
                Issue.record("use \(number) takes scale \(scale)")
            } catch HEError.invalidScale {
            } catch { Issue.record("use \(number): \(error)") }
        }
        // Nor one that is not in the NTT domain.
        let coefficients = RNSPolynomial(basis: context.ciphertextBasis(level: 2), form: .coefficient)
        for use in uses {
            #expect(throws: HEError.parameterMismatch) { try use(CKKSPlaintext(polynomial: coefficients, scale: 1)) }
        }
    }
}

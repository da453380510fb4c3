import HomomorphicEncryption
import RLWE
import Testing

@Suite struct ParameterTests {
    @Test("every preset stands: primes of at most 50 bits, every key within the 2024 table")
    func presets() throws {
        #expect(ParameterPreset.all.map(\.name) == ["ckks-12", "ckks-13", "ckks-14", "ckks-15", "ckks-16"])
        for preset in ParameterPreset.all {
            let parameters = preset.parameters
            #expect((parameters.q + parameters.p).allSatisfy { $0 < 1 << 50 })
            #expect(parameters.maximumEvaluationKeyLevel == parameters.q.count)
        }
    }

    private func primes(_ bits: Int, _ logN: Int, _ count: Int) -> [UInt64] {
        Primes.nttPrimes(bits: bits, degree: 1 << logN, count: count)
    }

    @Test("weak parameters are refused unless a test says so loudly")
    func security() throws {
        let q = primes(55, 12, 2)
        #expect(throws: HEError.insecureParameters(object: "the ciphertext modulus", bits: 110, logN: 12, maximum: 106))
        {
            try EncryptionParameters(scheme: .ckks, logN: 12, q: q, p: [], alpha: 0)
        }
        let escaped = try EncryptionParameters(
            scheme: .ckks, logN: 12, q: q, p: [], alpha: 0, security: .insecureForTestsOnly)
        #expect(escaped.q == q)
    }

    @Test("the table binds each key's own modulus: a high level is refused where a low one stands")
    func keyLevels() throws {
        let all = primes(40, 12, 3)
        let parameters = try EncryptionParameters(
            scheme: .ckks, logN: 12, q: Array(all[0..<2]), p: [all[2]], alpha: 1)
        #expect(parameters.maximumEvaluationKeyLevel == 1)
        let context = try EncryptionContext(parameters)
        try EvaluationKeyID(kind: .relinearization, level: 1).validate(for: context)
        #expect(throws: HEError.self) { try EvaluationKeyID(kind: .relinearization, level: 2).validate(for: context) }
    }

    @Test("malformed parameters are refused")
    func malformed() {
        let q = primes(30, 12, 2)
        func make(
            logN: Int = 12, q: [UInt64], p: [UInt64] = [], alpha: Int = 0, t: UInt64 = 0, scheme: Scheme = .ckks
        ) throws { _ = try EncryptionParameters(scheme: scheme, logN: logN, q: q, p: p, alpha: alpha, t: t) }
        #expect(throws: HEError.self) { try make(logN: 10, q: q) }
        #expect(throws: HEError.self) { try make(logN: 17, q: q) }
        #expect(throws: HEError.self) { try make(logN: -1, q: q) }
        #expect(throws: HEError.self) { try make(q: []) }
        #expect(throws: HEError.self) { try make(q: [q[0], q[0]]) }
        #expect(throws: HEError.self) { try make(q: [q[0], q[0] + 8192]) }
        #expect(throws: HEError.self) { try make(q: [UInt64.max]) }
        #expect(throws: HEError.self) { try make(q: [q[0]], p: [q[1]], alpha: 0) }
        #expect(throws: HEError.self) { try make(q: q, alpha: 1) }
        #expect(throws: HEError.self) { try make(q: [q[0]], p: [q[1]], alpha: 2) }
        #expect(throws: HEError.self) { try make(q: q, t: 65537) }
        #expect(throws: HEError.self) { try make(q: q, t: 0, scheme: .bfv) }
    }
}

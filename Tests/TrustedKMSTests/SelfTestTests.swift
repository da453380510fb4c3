import Foundation
import KeyManagement
import SecretMemory
import TestSupport
import Testing
import TrustedKMSSoftware

/// What happens where an algorithm, or the generator, is not what it should be.
@Suite(.serialized) struct SelfTestTests {
    @Test(arguments: SelfTests.Algorithm.allCases)
    func wrongAnswerOpensAndMakesNoKeystore(_ algorithm: SelfTests.Algorithm) async throws {
        let keystore = try await Keystore.withTwoKeys()
        let failing = SelfTests(corrupting: algorithm)
        let expected = SoftwareKMSError.selfTestFailed(algorithm: algorithm.rawValue)
        // The error state is left by a new process alone.
        for _ in 0..<2 {
            let opening = keystoreError { () throws(SoftwareKMSError) in
                _ = try SoftwareKMS(
                    opening: keystore.path, passphrase: try Keystore.secret(Keystore.passphrase), selfTests: failing)
            }
            #expect(opening == expected)
        }
        let other = try Keystore()
        let creating = keystoreError { () throws(SoftwareKMSError) in
            try SoftwareKMS.create(
                at: other.path, passphrase: try Keystore.secret(Keystore.passphrase), developmentOnly: false,
                scryptCost: .minimum, selfTests: failing)
        }
        #expect(creating == expected)
        #expect(try other.folder.names.isEmpty)
        #expect(expected.description.contains("self-test of \(algorithm.rawValue) failed"))
    }

    @Test func nothingAnswersOnceATestFailed() async throws {
        let keystore = try Keystore()
        let selfTests = SelfTests()
        let kms = try SoftwareKMS.create(
            at: keystore.path, passphrase: try Keystore.secret(Keystore.passphrase), developmentOnly: false,
            scryptCost: .minimum, selfTests: selfTests)
        let key = TrustedKMSConformance.freshName()
        try await kms.createKey(key)
        let context = SealingContext.forTests(["self-test"])
        let blob = try await kms.generateDataKey(under: key, context: context, as: .service).sealed
        _ = try await kms.open(blob, under: key, context: context, as: .service)
        selfTests.fail(.generator)
        let bytes = try keystore.bytes()
        let calls: [@Sendable () async throws -> Void] = [
            {
                let secret = try SecretBytes(count: 32)
                _ = try await kms.seal(secret, under: key, context: context, as: .service)
            },
            { _ = try await kms.open(blob, under: key, context: context, as: .service) },
            { _ = try await kms.generateDataKey(under: key, context: context, as: .service) },
            { _ = try await kms.rewrap(blob, under: key, context: context, as: .service) },
            { _ = try await kms.random(count: 32) },
            { _ = try await kms.describeKey(key) },
            { try await kms.createKey(TrustedKMSConformance.freshName()) },
            { try await kms.rotateKey(key) },
            { try await kms.setMinimumVersion(1, of: key) },
            { try await kms.destroyVersions(below: 1, of: key) },
            { try await kms.destroyKey(key) },
            { try await kms.checkHealth() },
        ]
        for (index, call) in calls.enumerated() {
            guard case .unavailable(let reason) = await failure(call), reason.contains("self-test of the random")
            else {
                Issue.record("call \(index)")
                continue
            }
        }
        let rotation = await keystoreError { () async throws(SoftwareKMSError) in
            try await kms.rotateKeystore(passphrase: try Keystore.secret(Keystore.passphrase))
        }
        #expect(rotation == .selfTestFailed(algorithm: SelfTests.Algorithm.generator.rawValue))
        #expect(try keystore.bytes() == bytes)
        // Other processes have self-tests of their own.
        _ = try keystore.open()
    }

    // MARK: The generator's health

    private static func repetition(_ count: Int) -> [UInt8] {
        [1, 2] + [UInt8](repeating: 7, count: count) + [3, 4]
    }

    @Test func longRepetitionIsNoticed() {
        let cutoff = GeneratorHealth.repetitionCutoff
        for (bytes, isHealthy) in [
            (Self.repetition(cutoff - 1), true), (Self.repetition(cutoff), false), (Self.repetition(500), false),
            ([UInt8](repeating: 0, count: 32), false), ([], true), ([5], true),
        ] {
            #expect(bytes.withUnsafeBytes { GeneratorHealth.isWithoutLongRepetition($0) } == isHealthy)
        }
    }

    @Test func disproportionIsNoticed() {
        let (window, cutoff) = (GeneratorHealth.proportionWindow, GeneratorHealth.proportionCutoff)
        /// The first byte of the second window comes so often in it.
        func sample(_ count: Int) -> [UInt8] {
            let healthy = (0..<window).map { UInt8($0 % 256) }
            let rest = (0..<window - count).map { UInt8($0 % 255 + 1) }
            return healthy + [UInt8](repeating: 0, count: count) + rest
        }
        for (count, isHealthy) in [(2, true), (cutoff - 1, true), (cutoff, false), (window, false)] {
            #expect(sample(count).withUnsafeBytes { GeneratorHealth.isProportionate($0) } == isHealthy, "\(count)")
        }
    }

    @Test func theOperatingSystemsGeneratorIsHealthy() throws {
        for _ in 0..<20 {
            let bytes = try SecretBytes(randomCount: 1024)
            let isHealthy = bytes.withUnsafeBytes {
                GeneratorHealth.isWithoutLongRepetition($0) && GeneratorHealth.isProportionate($0)
            }
            #expect(isHealthy)
        }
    }
}

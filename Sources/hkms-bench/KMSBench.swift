import ArgumentParser
import Attestation
import Foundation
import HomomorphicEncryption
import KeyManagement
import SecretMemory

/// What a trusted KMS costs: its calls, and its part of decryptions.
struct KMSCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "kms",
        abstract: "Time the calls of a trusted KMS, and its part of a decryption; one JSON object a line.",
        discussion: "scripts/bench kms starts the real servers and runs this for each of them.")

    @Option(name: .long, help: "\(KMSBackend.names).") var backend = "software"
    @Option(name: .long, help: "log2 of the ring degrees, as 13,14: presets of CKKS.") var degree = "13,14"
    @Option(name: .long, help: "Samples of each call and each decryption.") var repetitions = 200
    @Option(name: .long, help: "Seconds that each throughput is measured for.") var seconds = 3.0
    @Option(name: .long, help: "Requests at a time.") var concurrency = "1,8,64"

    func validate() throws {
        guard KMSBackend.all.contains(where: { $0.name == backend }) else {
            throw ValidationError("--backend is one of \(KMSBackend.names)")
        }
        guard (1...1_000_000).contains(repetitions), seconds > 0, seconds <= 3600 else {
            throw ValidationError("--repetitions and --seconds are positive")
        }
        _ = try (presets(), concurrencies())
    }

    private func presets() throws -> [ParameterPreset] {
        try degree.split(separator: ",").map { logN in
            guard let preset = ParameterPreset.named("ckks-\(logN)") else {
                throw ValidationError("there is no preset ckks-\(logN)")
            }
            return preset
        }
    }

    private func concurrencies() throws -> [Int] {
        try concurrency.split(separator: ",").map { text in
            guard let count = Int(text), (1...256).contains(count) else {
                throw ValidationError("--concurrency is a list of numbers of 1...256")
            }
            return count
        }
    }

    func run() async throws {
        guard let connect = KMSBackend.all.first(where: { $0.name == backend })?.connect else { return }
        let installation = try await KMSInstallation(connect)
        let result: Result<Void, any Error>
        do {
            try await measure(installation)
            result = .success(())
        } catch { result = .failure(error) }
        await installation.end()
        try result.get()
    }

    private func measure(_ installation: KMSInstallation) async throws {
        let kms = installation.kms
        let modes: [ProtectionMode] = kms.capabilities.sealing == .secrets ? [.direct, .envelope] : [.envelope]
        try JSONLine.write(
            Info(
                backend: backend, provider: kms.provider, binding: kms.capabilities.contextBinding.rawValue,
                nativeRewrap: kms.capabilities.nativeRewrap, modes: modes.map(\.rawValue)))
        try await measureCalls(installation)
        let concurrencies = try concurrencies()
        for preset in try presets() {
            for mode in modes {
                let lanes = try await installation.lanes(concurrencies.max() ?? 1, preset, mode)
                var (all, open): ([Double], [Double]) = ([], [])
                for index in 0..<repetitions + Self.warm {
                    let start = ContinuousClock.now
                    let part = try await installation.decrypt(lanes[0])
                    guard index >= Self.warm else { continue }
                    all.append(Self.milliseconds(since: start))
                    open.append(part)
                }
                try JSONLine.write(Decryptions(mode: mode.rawValue, logN: preset.parameters.logN, ms: all, kmsMs: open))
                for count in concurrencies {
                    let rate = try await rate(count) { try await installation.decrypt(lanes[$0]) }
                    try JSONLine.write(
                        Throughput(
                            of: "decrypt", mode: mode.rawValue, logN: preset.parameters.logN, concurrent: count,
                            perSecond: rate))
                }
            }
        }
    }

    // MARK: - Calls

    private static let warm = 5

    private func measureCalls(_ installation: KMSInstallation) async throws {
        let (kms, key) = (installation.kms, installation.key)
        let context = SealingContext.probe(installation: "bench", tenant: "default")
        let dataKey = try await kms.generateDataKey(under: key, context: context, as: .service)
        var blob = dataKey.sealed
        if kms.capabilities.sealing == .secrets {
            blob = try await kms.seal(
                try SecretBytes(randomCount: 32), under: key, context: context, as: .service)
            try await sample("seal") {
                let secret = try SecretBytes(randomCount: 32)
                _ = try await kms.seal(secret, under: key, context: context, as: .service)
            }
        }
        let sealed = blob
        let open: @Sendable () async throws -> Void = {
            _ = try await kms.open(sealed, under: key, context: context, as: .service)
        }
        try await sample("open", open)
        try await sample("dataKey") {
            _ = try await kms.generateDataKey(under: key, context: context, as: .service)
        }
        try await sample("rewrap") { _ = try await kms.rewrap(sealed, under: key, context: context, as: .service) }
        for count in try concurrencies() {
            let rate = try await rate(count) { _ in try await open() }
            try JSONLine.write(Throughput(of: "open", mode: nil, logN: nil, concurrent: count, perSecond: rate))
        }
    }

    private func sample(_ call: String, _ body: @Sendable () async throws -> Void) async throws {
        for _ in 0..<Self.warm { try await body() }
        var ms: [Double] = []
        for _ in 0..<repetitions {
            let start = ContinuousClock.now
            try await body()
            ms.append(Self.milliseconds(since: start))
        }
        try JSONLine.write(Call(call: call, ms: ms))
    }

    /// Requests a second, of so many that each begin the next one when one ends.
    /// - Parameter body: given which of them it is.
    private func rate(
        _ count: Int, _ body: @escaping @Sendable (Int) async throws -> Void
    ) async throws -> Double {
        let start = ContinuousClock.now
        let end = start + .milliseconds(Int64(seconds * 1000))
        let done = try await withThrowingTaskGroup(of: Int.self) { group in
            for lane in 0..<count {
                group.addTask {
                    var done = 0
                    while ContinuousClock.now < end {
                        try await body(lane)
                        done += 1
                    }
                    return done
                }
            }
            return try await group.reduce(0, +)
        }
        return Double(done) / (Self.milliseconds(since: start) / 1000)
    }

    private static func milliseconds(since start: ContinuousClock.Instant) -> Double {
        let (seconds, attoseconds) = (ContinuousClock.now - start).components
        return Double(seconds) * 1e3 + Double(attoseconds) / 1e15
    }

    private struct Info: Encodable {
        let backend: String
        let provider: String
        let binding: String
        let nativeRewrap: Bool
        let modes: [String]
    }
    private struct Call: Encodable {
        let call: String
        let ms: [Double]
    }
    private struct Decryptions: Encodable {
        let mode: String
        let logN: Int
        let ms: [Double]
        /// Of these, what the KMS took.
        let kmsMs: [Double]
    }
    private struct Throughput: Encodable {
        let of: String
        let mode: String?
        let logN: Int?
        let concurrent: Int
        let perSecond: Double
    }
}

import Attestation
import AuditLog
import Foundation
import SecretMemory
import ServiceKit
import TestSupport

/// A process that tests kill: it appends records from many tasks at a time, and prints the head of each that was
/// acknowledged, one a line.
///
///     audit-log-subject FOLDER TASKS [RECORDS]
///
/// Without RECORDS it goes on until it is killed; with it, it prints records per second and ends.
@main
struct AuditLogSubject {
    static func main() async throws {
        let arguments = CommandLine.arguments
        guard arguments.count >= 3, let tasks = Int(arguments[2]) else { exit(64) }
        let limit = arguments.count > 3 ? Int(arguments[3]) : nil
        SecretMemory.lockPolicy = .preferred
        let trail = try AuditTrail(
            AuditConfiguration(directory: arguments[1], fileBytes: limit == nil ? 1 << 16 : 64 << 20),
            installation: "test", gateway: "gateway-1",
            key: SigningKey(seed: SecretBytes(copying: [UInt8](repeating: 7, count: 32))),
            identifierKey: DigestKey(secret: SecretBytes(copying: [UInt8](repeating: 8, count: 32))))
        let start = ContinuousClock.now
        await withTaskGroup(of: Void.self) { group in
            for task in 0..<tasks {
                group.addTask { await append(to: trail, task, limit.map { $0 / tasks }) }
            }
        }
        let seconds = (ContinuousClock.now - start) / .seconds(1)
        if let limit { print("\(tasks) tasks: \(Int(Double(limit / tasks * tasks) / seconds)) records/s") }
        await trail.shutdown()
    }

    private static func append(to trail: AuditTrail, _ task: Int, _ limit: Int?) async {
        let caller = AuditRecord.Caller(
            Principal(issuer: "static", subject: "task-\(task)", tenant: "default", groups: ["radiology"]))
        var number = 0
        while limit.map({ number < $0 }) ?? true {
            number += 1
            let record = AuditRecord(
                caller: caller, action: "decrypt.job",
                resource: .init(keySet: "ks-0123456789abcdef", keySetVersion: 1, model: "heart-disease"),
                parameters: ["number": "\(number)"], ciphertexts: .init([Digest(of: [1]), Digest(of: [2])]),
                decision: .allowed, rule: "owner", requestID: "r-\(task)-\(number)",
                traceID: "0af7651916cd43dd8448eb211c80319c", microseconds: 1234)
            do {
                let head = try await trail.append(record)
                guard limit == nil else { continue }
                // One write a line: what is printed is acknowledged.
                let line = Array("\(head)\n".utf8)
                _ = line.withUnsafeBytes { write(1, $0.baseAddress, $0.count) }
            } catch {
                exit(70)
            }
        }
    }
}

import Observability
import SecretMemory

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// How much memory is locked, as the system counts it (Linux).
enum LockedMemory {
    static func read(into registry: PrometheusRegistry) {
        let limit = SecretMemory.lockedMemoryLimit
        registry.set(MetricCatalog.lockedMemoryLimit, to: limit == .max ? .infinity : Double(limit))
        guard let status = try? String(contentsOfFile: "/proc/self/status", encoding: .utf8),
            let bytes = bytes(status: status)
        else { return }
        registry.set(MetricCatalog.lockedMemory, to: Double(bytes))
    }

    /// Of a line such as `VmLck:	     256 kB`.
    static func bytes(status: String) -> Int? {
        guard let line = status.split(separator: "\n").first(where: { $0.hasPrefix("VmLck:") }) else { return nil }
        let words = line.split(whereSeparator: { $0 == " " || $0 == "\t" })
        guard words.count == 3, words[2] == "kB", let kilobytes = Int(words[1]) else { return nil }
        return kilobytes * 1024
    }
}

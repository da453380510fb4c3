import Foundation
import TestSupport

/// Looks for secrets in all writable memory of another process.
struct MemoryScanner {
    var secrets = SecretScan()

    struct Findings {
        /// How often each needle's name was found.
        var counts: [String: Int] = [:]
        /// A few places, for whoever has to find the cause.
        var places: [String] = []
        var scannedBytes = 0

        var isEmpty: Bool { counts.isEmpty }
    }

    /// - Throws: where the process's memory cannot be read: only root may, of a process that forbids core dumps.
    func scan(_ process: Int32) throws -> Findings {
        // Whole: a file of /proc has no size, and what reads files by their size reads the beginning.
        let file = try FileHandle(forReadingFrom: URL(fileURLWithPath: "/proc/\(process)/maps"))
        let maps = String(decoding: try file.readToEnd() ?? Data(), as: UTF8.self)
        let memory = open("/proc/\(process)/mem", O_RDONLY)
        guard memory >= 0 else { throw POSIXError(.EACCES) }
        defer { close(memory) }
        var findings = Findings()
        let longest = secrets.longest
        let chunkBytes = 1 << 20
        let buffer = UnsafeMutableRawPointer.allocate(byteCount: chunkBytes + longest, alignment: 16)
        defer { buffer.deallocate() }
        for line in maps.split(separator: "\n") {
            let fields = line.split(separator: " ", maxSplits: 5, omittingEmptySubsequences: true)
            guard fields.count >= 2, fields[1].hasPrefix("rw"), fields.last != "[vvar]" else { continue }
            let bounds = fields[0].split(separator: "-").compactMap { UInt($0, radix: 16) }
            guard bounds.count == 2 else { continue }
            var address = bounds[0]
            while address < bounds[1] {
                let wanted = min(chunkBytes + longest, Int(bounds[1] - address))
                let got = pread(memory, buffer, wanted, off_t(address))
                guard got > 0 else { break }
                let starts = min(got, chunkBytes)
                secrets.search(UnsafeRawBufferPointer(start: buffer, count: got), starts: starts) { name, offset in
                    findings.counts[name, default: 0] += 1
                    if findings.places.count < 8 {
                        let region = fields.count > 5 ? String(fields[5]) : "anonymous"
                        findings.places.append("\(name) at \(String(address + UInt(offset), radix: 16)) in \(region)")
                    }
                    return true
                }
                findings.scannedBytes += starts
                address += UInt(starts)
            }
        }
        return findings
    }
}

import Foundation

/// Looks for secrets in all writable memory of another process.
///
/// A needle is 16 bytes or more. Whatever of a secret is left behind is at least as long as that, or too short to be
/// of use: a 32-byte secret is looked for by every one of its 16-byte windows, because an allocator overwrites the
/// beginning of what is freed.
struct MemoryScanner {
    private var byStart: [UInt64: [Int]] = [:]
    private var filter = [UInt64](repeating: 0, count: 1 << 14)
    private var needles: [(name: String, bytes: [UInt8])] = []

    var needleCount: Int { needles.count }

    mutating func add(_ name: String, _ bytes: some Collection<UInt8>) {
        let bytes = Array(bytes)
        guard bytes.count >= 16, bytes[..<8].contains(where: { $0 != 0 }) else { return }
        let start = bytes.withUnsafeBytes { $0.loadUnaligned(as: UInt64.self) }
        byStart[start, default: []].append(needles.count)
        let slot = Self.slot(start)
        filter[slot >> 6] |= 1 << (UInt64(slot) & 63)
        needles.append((name, bytes))
    }

    /// Every window of `length` bytes.
    mutating func addWindows(_ name: String, _ bytes: [UInt8], length: Int = 16, stride step: Int = 1) {
        guard bytes.count >= length else { return }
        for start in Swift.stride(from: 0, through: bytes.count - length, by: step) {
            add(name, bytes[start..<start + length])
        }
    }

    /// A secret key's bytes in every form that code and libraries give them.
    mutating func add(secret: [UInt8], _ name: String) {
        addWindows("\(name), raw", secret)
        // HMAC keeps its key xored with these (RFC 2104).
        addWindows("\(name), HMAC inner pad", secret.map { $0 ^ 0x36 })
        addWindows("\(name), HMAC outer pad", secret.map { $0 ^ 0x5C })
        let digits = Array("0123456789abcdef".utf8)
        let hex = secret.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }
        addWindows("\(name), hex", hex)
        addWindows("\(name), hex", Array(String(decoding: hex, as: UTF8.self).uppercased().utf8))
        for shift in 0..<3 {
            let text = Array(Data([UInt8](repeating: 0, count: shift) + secret).base64EncodedString().utf8)
            // Characters that the secret alone decides.
            let first = (shift * 8 + 5) / 6
            let last = (shift + secret.count) * 8 / 6
            let inner = Array(text[first..<last])
            addWindows("\(name), base64", inner)
            if inner.contains(where: { $0 == UInt8(ascii: "+") || $0 == UInt8(ascii: "/") }) {
                addWindows(
                    "\(name), base64url",
                    inner.map {
                        $0 == UInt8(ascii: "+") ? UInt8(ascii: "-") : $0 == UInt8(ascii: "/") ? UInt8(ascii: "_") : $0
                    })
            }
        }
    }

    private static func slot(_ start: UInt64) -> Int { Int((start &* 0x9E37_79B9_7F4A_7C15) >> 44) }

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
        let longest = needles.map(\.bytes.count).max() ?? 16
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
                search(UnsafeRawBufferPointer(start: buffer, count: got), starts: starts) { name, offset in
                    findings.counts[name, default: 0] += 1
                    if findings.places.count < 8 {
                        let region = fields.count > 5 ? String(fields[5]) : "anonymous"
                        findings.places.append("\(name) at \(String(address + UInt(offset), radix: 16)) in \(region)")
                    }
                }
                findings.scannedBytes += starts
                address += UInt(starts)
            }
        }
        return findings
    }

    private func search(_ bytes: UnsafeRawBufferPointer, starts: Int, _ found: (String, Int) -> Void) {
        guard bytes.count >= 16, let base = bytes.baseAddress else { return }
        filter.withUnsafeBufferPointer { filter in
            for offset in 0..<min(starts, bytes.count - 15) {
                let word = base.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
                if word == 0 { continue }
                let slot = Self.slot(word)
                guard filter[slot >> 6] >> (UInt64(slot) & 63) & 1 == 1, let candidates = byStart[word] else {
                    continue
                }
                for index in candidates {
                    let needle = needles[index].bytes
                    if offset + needle.count <= bytes.count,
                        needle.elementsEqual(UnsafeRawBufferPointer(start: base + offset, count: needle.count))
                    {
                        found(needles[index].name, offset)
                    }
                }
            }
        }
    }
}

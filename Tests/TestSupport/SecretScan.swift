import Foundation

/// Looks for what is left of secrets in bytes: those of files, or of another process's memory.
///
/// A needle is 16 bytes or more. Whatever of a secret is left behind is at least as long as that, or too short to be
/// of use: a 32-byte secret is looked for by every one of its 16-byte windows, because an allocator overwrites the
/// beginning of what is freed.
package struct SecretScan: Sendable {
    private var needles: [(name: String, bytes: [UInt8])] = []
    private var byStart: [UInt64: [Int]] = [:]
    /// One bit for eight bytes that a needle may begin with: rules out most places of hundreds of mebibytes at once,
    /// for tens of thousands of needles too.
    private var filter = [UInt64](repeating: 0, count: 1 << 14)

    package init() {}

    package init(_ secrets: [[UInt8]]) {
        for secret in Set(secrets) { add(secret: secret, "secret") }
    }

    /// Bytes of the longest needle.
    package var longest: Int { needles.map(\.bytes.count).max() ?? 16 }

    package mutating func add(_ name: String, _ bytes: some Collection<UInt8>) {
        let bytes = Array(bytes)
        guard bytes.count >= 16, bytes[..<8].contains(where: { $0 != 0 }) else { return }
        let start = bytes.withUnsafeBytes { $0.loadUnaligned(as: UInt64.self) }
        byStart[start, default: []].append(needles.count)
        let slot = Self.slot(start)
        filter[slot >> 6] |= 1 << (UInt64(slot) & 63)
        needles.append((name, bytes))
    }

    /// Every window of 16 bytes.
    package mutating func addWindows(_ name: String, _ bytes: [UInt8], stride step: Int = 1) {
        for start in Swift.stride(from: 0, through: bytes.count - 16, by: step) {
            add(name, bytes[start..<start + 16])
        }
    }

    /// A secret of 16 bytes or more: raw, in hexadecimal, and in base64 at each alignment.
    package mutating func add(secret: [UInt8], _ name: String) {
        guard secret.count >= 16 else { return }
        addWindows("\(name), raw", secret)
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

    package func finds(in bytes: [UInt8]) -> Bool {
        bytes.withUnsafeBytes { bytes in
            var isFound = false
            search(bytes, starts: bytes.count) { _, _ in
                isFound = true
                return false
            }
            return isFound
        }
    }

    /// Tells of every needle that begins at one of the first places, by its name and place.
    /// - Parameter found: gives whether to go on.
    package func search(_ bytes: UnsafeRawBufferPointer, starts: Int, found: (String, Int) -> Bool) {
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
                        needle.elementsEqual(UnsafeRawBufferPointer(start: base + offset, count: needle.count)),
                        !found(needles[index].name, offset)
                    {
                        return
                    }
                }
            }
        }
    }
}

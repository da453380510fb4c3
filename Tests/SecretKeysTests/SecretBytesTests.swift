import Foundation
import SecretMemory
import TestSupport
import Testing

private func revealed(_ secret: borrowing SecretBytes) -> [UInt8] { secret.withUnsafeBytes { Array($0) } }

@Suite struct SecretBytesTests {
    @Test("new bytes are zero, random ones are not", arguments: [0, 1, 32, 4096, 4097])
    func creation(count: Int) throws {
        let zeros = try SecretBytes(count: count)
        #expect(zeros.count == count)
        #expect(revealed(zeros) == [UInt8](repeating: 0, count: count))
        guard count >= 32 else { return }
        let random = try SecretBytes(randomCount: count)
        let other = try SecretBytes(randomCount: count)
        #expect(random.count == count)
        let check1 = !random.equals(zeros)
        #expect(check1)
        let check2 = !random.equals(other)
        #expect(check2)
        // More than one call of the generator: its end is random too.
        #expect(revealed(random).suffix(16) != ArraySlice(repeating: 0, count: 16))
    }

    @Test("wiped means zero, at once")
    func wiping() throws {
        var secret = try SecretBytes(randomCount: 5000)
        secret.wipe()
        #expect(secret.count == 5000)
        #expect(revealed(secret).allSatisfy { $0 == 0 })
        var empty = try SecretBytes(count: 0)
        empty.wipe()
    }

    @Test("buffers of libraries are wiped in place")
    func wipingBuffers() {
        var bytes = [UInt8](1...100)
        bytes.withUnsafeMutableBytes { SecretMemory.wipe(UnsafeMutableRawBufferPointer(rebasing: $0[10..<20])) }
        #expect(bytes == [UInt8](1...10) + [UInt8](repeating: 0, count: 10) + [UInt8](21...100))
        let data = Data([UInt8](1...100))
        data.withUnsafeBytes { SecretMemory.wipe(uniquelyOwned: $0) }
        #expect(data == Data(count: 100))
        SecretMemory.wipe(UnsafeMutableRawBufferPointer(start: nil, count: 0))
        SecretMemory.wipe(uniquelyOwned: UnsafeRawBufferPointer(start: nil, count: 0))
    }

    #if os(Linux)
        @Test("their pages stay in memory, out of core dumps and of forked children")
        func pageFlags() throws {
            let secret = try SecretBytes(randomCount: 10_000)
            // Inside, because a noncopyable value may be gone after its last use.
            let flags = try secret.withUnsafeBytes { bytes -> [Substring] in
                let address = UInt(bitPattern: bytes.baseAddress)
                let file = try #require(FileHandle(forReadingAtPath: "/proc/self/smaps"))
                let text = String(decoding: try file.readToEnd() ?? Data(), as: UTF8.self)
                var isInside = false
                for line in text.split(separator: "\n") {
                    let bounds = line.prefix { $0 != " " }.split(separator: "-").map { UInt($0, radix: 16) }
                    if bounds.count == 2, let low = bounds[0], let high = bounds[1] {
                        isInside = (low..<high).contains(address)
                    } else if isInside, line.hasPrefix("VmFlags:") {
                        return line.split(separator: " ")
                    }
                }
                return []
            }
            #expect(flags.contains("lo") && flags.contains("dd") && flags.contains("wf"), "\(flags)")
        }
    #endif

    @Test("a copy is another memory")
    func copying() throws {
        var first = try SecretBytes(copying: [1, 2, 3])
        let second = try first.copy()
        first.withUnsafeMutableBytes { $0[0] = 9 }
        #expect(revealed(first) == [9, 2, 3])
        #expect(revealed(second) == [1, 2, 3])
        first.wipe()
        #expect(revealed(second) == [1, 2, 3])
        let copied = try SecretBytes(copying: UnsafeRawBufferPointer(start: nil, count: 0))
        #expect(copied.count == 0)
    }

    @Test("equal means every bit and the length")
    func equality() throws {
        let bytes = [UInt8](0..<33)
        let first = try SecretBytes(copying: bytes)
        let check3 = try first.equals(SecretBytes(copying: bytes))
        #expect(check3)
        let check4 = first.equals(bytes)
        #expect(check4)
        #expect(equalInConstantTime(bytes, bytes))
        for bit in 0..<bytes.count * 8 {
            var other = bytes
            other[bit / 8] ^= 1 << UInt8(bit % 8)
            let check5 = try !first.equals(SecretBytes(copying: other))
            #expect(check5)
            let check6 = !first.equals(other)
            #expect(check6)
            #expect(!equalInConstantTime(bytes, other))
        }
        for other in [[], Array(bytes.dropLast()), bytes + [0]] {
            let check7 = try !first.equals(SecretBytes(copying: other))
            #expect(check7)
            let check8 = !first.equals(other)
            #expect(check8)
            #expect(!equalInConstantTime(bytes, other))
        }
        let empty = try SecretBytes(count: 0)
        let check9 = try empty.equals(SecretBytes(count: 0))
        #expect(check9)
        let check10 = empty.equals([UInt8]())
        #expect(check10)
        #expect(equalInConstantTime([UInt8](), []))
    }

    @Test("hex there and back; nothing else is hex")
    func hex() throws {
        let all = (0...255).map { UInt8($0) }
        let encoded = try SecretBytes(copying: all).encodingHex()
        #expect(revealed(encoded) == Array(all.map { String(format: "%02x", $0) }.joined().utf8))
        if let decoded = try encoded.decodingHex() {
            #expect(revealed(decoded) == all)
        } else {
            Issue.record("its own hex is not read back")
        }
        let empty = try SecretBytes(count: 0).decodingHex()?.count
        #expect(empty == 0)
        for text in ["0", "000", "0g", "g0", "0A", " 0", "0x", "0\n", "\0\0", "é"] {
            let count = try SecretBytes(copying: text.utf8).decodingHex()?.count
            #expect(count == nil, "\(text)")
        }
    }

    @Test("more than there is is refused by name")
    func tooMuch() {
        for count in [Int.max, Int.max / 2] {
            #expect(throws: SecretMemoryError.outOfMemory(bytes: count)) { _ = try SecretBytes(count: count) }
            #expect(throws: SecretMemoryError.outOfMemory(bytes: count)) { _ = try SecretBytes(randomCount: count) }
        }
    }
}

@Suite struct SecretFileTests {
    /// A new folder that is removed at the end.
    private func withFolder(_ body: (String) throws -> Void) throws {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: false)
        defer { try? FileManager.default.removeItem(at: folder) }
        try body(folder.path)
    }

    private func write(_ bytes: [UInt8], _ path: String, mode: Int = 0o600) throws {
        try Data(bytes).write(to: URL(fileURLWithPath: path))
        try FileManager.default.setAttributes([.posixPermissions: mode], ofItemAtPath: path)
    }

    @Test("what was made is read, and only its owner may")
    func roundTrip() throws {
        try withFolder { folder in
            for count in [0, 1, 32, 8191] {
                let path = folder + "/secret-\(count)"
                let written = try SecretBytes(copying: [UInt8](repeating: 0x61, count: count))
                try SecretFile.create(path, written)
                let attributes = try FileManager.default.attributesOfItem(atPath: path)
                #expect(attributes[.posixPermissions] as? Int == 0o600)
                #expect(attributes[.size] as? Int == count + 1)
                let check11 = try SecretFile.read(path).equals(written)
                #expect(check11)
            }
        }
    }

    @Test("a file that is there already is left alone")
    func existing() throws {
        try withFolder { folder in
            let path = folder + "/secret"
            try write([0x61], path)
            let other = try SecretBytes(copying: [0x62])
            let error = #expect(throws: SecretFileError.self) { try SecretFile.create(path, other) }
            guard case .unwritable(path, _)? = error else {
                Issue.record("another error: \(String(describing: error))")
                return
            }
            #expect(try Data(contentsOf: URL(fileURLWithPath: path)) == Data([0x61]))
            #expect(throws: SecretFileError.self) { try SecretFile.create(folder + "/none/secret", other) }
        }
    }

    @Test(
        "a file that others may read is refused", arguments: [0o640, 0o604, 0o644, 0o660, 0o620, 0o610, 0o601, 0o777])
    func exposed(mode: Int) throws {
        try withFolder { folder in
            let path = folder + "/secret"
            try write([0x61], path, mode: mode)
            #expect(throws: SecretFileError.exposed(path: path)) { _ = try SecretFile.read(path) }
            let check12 = try SecretFile.read(path, ownerOnly: false).equals([0x61])
            #expect(check12)
        }
    }

    @Test("white space at the end is not part of the secret")
    func whitespace() throws {
        try withFolder { folder in
            let path = folder + "/secret"
            for (content, expected) in [
                ("key\n", "key"), ("key\r\n", "key"), ("key \t\r\n\n", "key"), (" k y\n", " k y"), ("", ""),
                ("\n \t", ""),
                ("key\u{0B}", "key\u{0B}"),
            ] {
                try write(Array(content.utf8), path)
                let check13 = try SecretFile.read(path).equals(Array(expected.utf8))
                #expect(check13)
            }
        }
    }

    @Test("8192 bytes are read, one more is refused")
    func size() throws {
        try withFolder { folder in
            let path = folder + "/secret"
            try write([UInt8](repeating: 0x61, count: 8192), path)
            #expect(try SecretFile.read(path).count == 8192)
            for count in [8193, 100_000] {
                try write([UInt8](repeating: 0x61, count: count), path)
                #expect(throws: SecretFileError.tooLarge(path: path, limit: 8192)) { _ = try SecretFile.read(path) }
            }
        }
    }

    @Test("what is no file is refused, and a pipe does not hang")
    func noFile() throws {
        try withFolder { folder in
            try FileManager.default.setAttributes([.posixPermissions: 0o700], ofItemAtPath: folder)
            for path in [folder, folder + "/none", folder + "/none/none", ""] {
                let error = #expect(throws: SecretFileError.self) { _ = try SecretFile.read(path) }
                guard case .unreadable(path, _)? = error else {
                    Issue.record("another error: \(String(describing: error))")
                    continue
                }
            }
            let pipe = folder + "/pipe"
            #expect(mkfifo(pipe, 0o600) == 0)
            let count = (try? SecretFile.read(pipe))?.count
            #expect((count ?? 0) == 0)
        }
    }

    @Test("errors name the file and never its content")
    func errors() throws {
        try withFolder { folder in
            let path = folder + "/secret"
            try write(Array("hunter2".utf8), path, mode: 0o644)
            let error = #expect(throws: SecretFileError.self) { _ = try SecretFile.read(path) }
            let text = "\(try #require(error))"
            #expect(text.contains(path))
            #expect(!text.contains("hunter2"))
        }
    }

    @Test(
        "pages that are used again are zero, of every size and by many threads at a time",
        arguments: [1, 4096, 70_000])
    func keptPages(count: Int) async throws {
        try await withThrowingTaskGroup(of: Bool.self) { group in
            for _ in 0..<8 {
                group.addTask {
                    var areZero = true
                    for _ in 0..<200 {
                        var secret = try SecretBytes(count: count)
                        areZero = areZero && secret.withUnsafeBytes { $0.allSatisfy { $0 == 0 } }
                        secret.withUnsafeMutableBytes { _ = $0.initializeMemory(as: UInt8.self, repeating: 0xA5) }
                    }
                    return areZero
                }
            }
            for try await areZero in group { #expect(areZero) }
        }
    }
}

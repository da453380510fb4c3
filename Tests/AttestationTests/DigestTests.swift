import Attestation
import Foundation
import Testing

@Suite struct DigestTests {
    /// FIPS 180-4's example.
    static let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"

    @Test("it is SHA-256")
    func knownAnswer() {
        #expect(Digest(of: Array("abc".utf8)).hex == Self.abc)
        #expect(Digest(of: "abc".utf8).description == Self.abc)
        #expect(Digest(of: []).hex == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
    }

    @Test("64 lower-case hex digits and nothing else")
    func hex() {
        #expect(Digest(hex: Self.abc) == Digest(of: Array("abc".utf8)))
        for text in [
            "", "ba", Self.abc + "00", String(Self.abc.dropLast(2)), String(Self.abc.dropLast()), Self.abc.uppercased(),
            " " + Self.abc.dropLast(), "0x" + Self.abc.dropLast(2), String(repeating: "g", count: 64),
            String(repeating: "-", count: 64), String(repeating: "é", count: 32), String(repeating: "０", count: 64),
        ] {
            #expect(Digest(hex: text) == nil, "\(text)")
        }
        #expect(Digest(bytes: []) == nil)
        #expect(Digest(bytes: [UInt8](repeating: 0, count: 31)) == nil)
        #expect(Digest(bytes: [UInt8](repeating: 0, count: 33)) == nil)
    }

    @Test("hex of any bytes and back")
    func hexBytes() {
        let all = (0...255).map { UInt8($0) }
        #expect(Digest.bytes(hex: Digest.hex(all)) == all)
        #expect(Digest.bytes(hex: "") == [])
        for digit in UInt8.min ... .max {
            let valid = (0x30...0x39).contains(digit) || (0x61...0x66).contains(digit)
            let text = String(decoding: [digit, 0x30], as: UTF8.self)
            #expect((Digest.bytes(hex: text) != nil) == valid, "\(digit)")
            #expect(Digest.bytes(hex: String(decoding: [digit], as: UTF8.self)) == nil)
        }
    }

    @Test("JSON is a string of those digits")
    func json() throws {
        let digest = Digest(of: Array("abc".utf8))
        #expect(try JSONEncoder().encode([digest]) == Data("[\"\(Self.abc)\"]".utf8))
        #expect(try JSONDecoder().decode([Digest].self, from: Data("[\"\(Self.abc)\"]".utf8)) == [digest])
        for text in ["[\"\"]", "[1]", "[null]", "[\"\(Self.abc.uppercased())\"]", "[[\"\(Self.abc)\"]]"] {
            #expect(throws: DecodingError.self) { try JSONDecoder().decode([Digest].self, from: Data(text.utf8)) }
        }
    }
}

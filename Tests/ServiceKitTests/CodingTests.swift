import ServiceKit
import Testing

@Suite struct CodingTests {
    @Test func hexadecimal() {
        #expect(HexCoding.encode([0, 0x9a, 0xff]) == "009aff")
        #expect(HexCoding.decode("009aff") == [0, 0x9a, 0xff])
        #expect(HexCoding.decode("") == [])
        for bad in ["0", "0g", "AA", " 00", "0x", "é0"] { #expect(HexCoding.decode(bad) == nil) }
    }

    @Test func base64URL() {
        #expect(Base64URL.encode([0xfb, 0xff]) == "-_8")
        #expect(Base64URL.decode("-_8") == [0xfb, 0xff])
        #expect(Base64URL.decode("") == [])
        for bad in ["-_8=", "+/8", "-_9", "a", "a b", "aa\n"] { #expect(Base64URL.decode(bad) == nil) }
    }

    @Test func anyTextDecodesOrNot() {
        fuzz(20_000, seeds: [Array("00ff".utf8), Array("-_8A".utf8)], alphabet: "0123456789abcdef-_=+/") { bytes in
            let text = text(bytes)
            if let decoded = HexCoding.decode(text) { #expect(HexCoding.encode(decoded) == text) }
            if let decoded = Base64URL.decode(text) { #expect(Base64URL.encode(decoded) == text) }
            #expect(HexCoding.decode(HexCoding.encode(bytes)) == bytes)
            #expect(Base64URL.decode(Base64URL.encode(bytes)) == bytes)
        }
    }
}

import ServiceKit
import Testing

@Suite struct BearerTokenTests {
    @Test("the scheme has no case, the token is every byte behind one blank")
    func tokens() {
        for (field, token) in [
            ("Bearer abc", "abc"), ("bearer abc", "abc"), ("bEaReR abc", "abc"), ("Bearer  abc ", " abc "),
            ("Bearer ", ""), ("Bearer \u{301}abc", "\u{301}abc"),
        ] {
            #expect(BearerToken(fieldValue: field)?.text.utf8.elementsEqual(token.utf8) == true, "\(field)")
        }
        for field in ["", "Bearer", "Bearer\tabc", " Bearer abc", "Basic QTpC", "Bear\u{E9}r abc", "[earer abc"] {
            #expect(BearerToken(fieldValue: field) == nil, "\(field)")
        }
        #expect(BearerToken(fieldValue: "Bearer " + String(repeating: "a", count: 12_288))?.text.count == 12_288)
        #expect(BearerToken(fieldValue: "Bearer " + String(repeating: "a", count: 12_289)) == nil)
    }
}

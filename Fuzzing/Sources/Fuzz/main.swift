import Foundation

// libFuzzer's own loop, for the parser that FUZZ_PARSER names; its options are the arguments. With FUZZ_SEEDS a
// first corpus is written into that folder instead, a folder for each parser.

@_silgen_name("LLVMFuzzerRunDriver")
func runDriver(
    _ count: UnsafeMutablePointer<CInt>,
    _ arguments: UnsafeMutablePointer<UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>>,
    _ test: @convention(c) (UnsafePointer<UInt8>?, Int) -> CInt
) -> CInt

if let folder = ProcessInfo.processInfo.environment["FUZZ_SEEDS"] {
    try Seeds.write(to: folder)
    exit(0)
}
/// nonisolated, because libFuzzer calls from where Swift knows of no isolation.
nonisolated let parser: Parser = {
    if let parser = ProcessInfo.processInfo.environment["FUZZ_PARSER"].flatMap(Parser.init(rawValue:)) { return parser }
    print("FUZZ_PARSER is one of \(Parser.allCases.map(\.rawValue).joined(separator: " "))")
    exit(64)
}()
var count = CommandLine.argc
var arguments = CommandLine.unsafeArgv
let test: @convention(c) (UnsafePointer<UInt8>?, Int) -> CInt = { start, count in
    parser.read(Array(UnsafeBufferPointer(start: start, count: count)))
    return 0
}
exit(runDriver(&count, &arguments, test))

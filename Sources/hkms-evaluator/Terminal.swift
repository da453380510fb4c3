import ArgumentParser
import EvaluationUnit
import Foundation
import SecretMemory
import ServiceKit

/// What the program writes.
enum Terminal {
    static func output(_ line: String) { FileHandle.standardOutput.write(Data((line + "\n").utf8)) }

    static func error(_ line: String) { FileHandle.standardError.write(Data((line + "\n").utf8)) }

    /// JSON with sorted keys.
    static func output(json value: some Encodable) throws {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        output(String(decoding: try encoder.encode(value), as: UTF8.self))
    }

    /// Tells why the command ends.
    /// - Returns: the exit code.
    static func failure(_ message: String, code: ExitCode = .failure) -> ExitCode {
        error("hkms-evaluator: \(message)")
        return code
    }
}

extension ExitCode {
    /// EX_CONFIG of sysexits.h.
    static let configuration = ExitCode(78)
}

extension UnitConfiguration {
    /// Reads the file for this process, whose secrets follow its lock policy from then on.
    /// - Throws: ``ExitCode/configuration`` after writing what is wrong, one line each.
    static func load(_ path: String) throws -> UnitConfiguration {
        do {
            return try UnitConfiguration(path: path) { SecretMemory.lockPolicy = $0 }
        } catch {
            Terminal.error(error.description)
            throw ExitCode.configuration
        }
    }
}

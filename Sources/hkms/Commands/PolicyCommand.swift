import AccessPolicy
import ArgumentParser
import Foundation
import ServiceKit

/// `hkms policy`
struct PolicyCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "policy",
        abstract: "Check an access policy, and ask it who may do what.",
        discussion: """
            An access policy is a YAML file of rules. Each allows or denies some principals some actions on some key \
            sets. What no rule allows is denied; what one rule denies is denied whatever others allow. A smallest one:

              version: 1
              rules:
                - name: clerks-encrypt
                  effect: allow
                  who: {groups: [clerks]}
                  actions: [show, encrypt]
                  keySets: {myGroups: true}

              hkms policy check policy.yaml
              hkms policy explain --policy policy.yaml --who alice \\
                --group clerks --action encrypt --owner-group clerks

            A policy is the second gate: nobody gets at a key set that neither they nor one of their groups owns. \
            docs/policy.md has the whole language. No gateway is asked.
            """,
        subcommands: [Check.self, Explain.self])

    /// - Throws: an exit code, with everything that is wrong with the file told.
    static func read(_ path: String) throws -> Policy {
        do throws(ConfigurationError) {
            return try Policy(path: path)
        } catch {
            Terminal.tell(Terminal.printable(error.description) + "\n")
            throw CommandFailure.inputData
        }
    }

    /// Writes an answer for programs: indented, sorted.
    static func write(_ answer: some Encodable) throws {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes, .prettyPrinted]
        try Terminal.write(Array(try encoder.encode(answer)) + [UInt8(ascii: "\n")])
    }
}

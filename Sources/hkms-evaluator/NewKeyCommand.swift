import ArgumentParser
import EvaluationUnit
import SecretMemory

struct NewKeyCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "new-key",
        abstract: "Make a signing key in a new file of mode 0600 and write its public half.",
        discussion: """
            Gateways pin the public half (units.publicKey), the unit's configuration names the file
            (unit.signingKeyFile).

            EXAMPLE
              hkms-evaluator new-key unit-signing.key
            """)

    @Argument(help: ArgumentHelp("The file to make; it must not exist.", valueName: "file"))
    var file: String

    func run() throws {
        SecretMemory.forbidCoreDumps()
        do {
            Terminal.output(try SigningKeyFile.create(file).hex)
        } catch {
            throw Terminal.failure("\(error)")
        }
    }
}

import ArgumentParser
import EncryptedInference
import EvaluationUnit

struct ModelsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "models",
        abstract: "List the models of a configuration: names, digests, and what their circuits ask of keys.",
        discussion: """
            EXAMPLES
              hkms-evaluator models --config unit.yaml
              hkms-evaluator models --config unit.yaml --json
            """)

    @Option(name: .long, help: ArgumentHelp("Configuration file.", valueName: "file"))
    var config: String

    @Flag(name: .long, help: "Write the model descriptors that gateways get, as JSON.")
    var json = false

    func run() throws {
        let configuration = try UnitConfiguration.load(config)
        let descriptors = configuration.models.map { ModelDescriptor($0, unit: configuration.name) }
        if json { return try Terminal.output(json: descriptors) }
        for (descriptor, model) in zip(descriptors, configuration.models) {
            let profile = descriptor.profile
            Terminal.output("\(descriptor.name) version \(descriptor.version)")
            Terminal.output("  digest           \(model.model.digest)")
            Terminal.output("  profile          \(profile.digest)")
            Terminal.output(
                "  parameters       CKKS, N = 2^\(profile.parameters.logN), \(profile.parameters.q.count) primes, "
                    + "scale 2^\(profile.scaleBits)")
            Terminal.output("  levels           \(profile.inputLevel) to \(profile.outputLevel)")
            Terminal.output("  records          \(profile.batch) a ciphertext")
            Terminal.output("  evaluation keys  \(profile.evaluationKeys.count)")
        }
    }
}

import ArgumentParser
import EncryptedInference
import EvaluationUnit

struct ModelsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "models",
        abstract: "List models and circuits of a configuration: names, digests, and what they ask of keys.",
        discussion: """
            EXAMPLES
              hkms-evaluator models --config unit.yaml
              hkms-evaluator models --config unit.yaml --json
            """)

    @Option(name: .long, help: ArgumentHelp("Configuration file.", valueName: "file"))
    var config: String

    @Flag(name: .long, help: "Write the descriptors that gateways get, as JSON.")
    var json = false

    func run() throws {
        let configuration = try UnitConfiguration.load(config)
        let descriptions = configuration.models.map { $0.description(unit: configuration.name) }
        if json { return try Terminal.output(json: descriptions.map { Described($0) }) }
        for (description, model) in zip(descriptions, configuration.models) {
            let profile = model.profile
            let (scheme, unit) =
                switch profile.parameters.scheme {
                case .ckks: ("CKKS", "scale 2^\(profile.scaleBits)")
                case .bfv: ("BFV", "t = \(profile.parameters.t)")
                }
            Terminal.output("\(description.name) version \(description.version)")
            Terminal.output("  digest           \(model.digest)")
            Terminal.output("  profile          \(profile.digest)")
            Terminal.output(
                "  parameters       \(scheme), N = 2^\(profile.parameters.logN), \(profile.parameters.q.count) primes, "
                    + unit)
            Terminal.output("  levels           \(profile.inputLevel) to \(profile.outputLevel)")
            Terminal.output("  records          \(profile.batch) an evaluation")
            Terminal.output("  evaluation keys  \(profile.evaluationKeys.count)")
        }
    }
}

/// A description of any kind, as JSON.
private struct Described: Encodable {
    let description: any CircuitDescription

    init(_ description: any CircuitDescription) { self.description = description }

    func encode(to encoder: any Encoder) throws { try description.encode(to: encoder) }
}

import APIClient
import ArgumentParser
import CommandLineSupport

struct MetricsCommand: ServerCommand {
  static let configuration = CommandConfiguration(
    commandName: "metrics", abstract: "Print the server's metrics, as Prometheus reads them.")

  @OptionGroup var server: ServerOptions

  @Flag(help: "The series of every vCPU instead of those of pools and server.")
  var vcpus = false

  func run(_ client: VMPoolClient) throws {
    try StandardOutput.print(vcpus ? try client.vcpuMetrics() : try client.metrics(), terminator: "")
  }
}

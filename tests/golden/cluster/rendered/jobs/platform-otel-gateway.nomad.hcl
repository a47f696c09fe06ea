job "platform-otel-gateway" {
  region      = "eu"
  namespace   = "observability"
  datacenters = ["fra1", "ams1"]
  type        = "service"
  node_pool   = "infrastructure"

  constraint {
    attribute = "${attr.cpu.arch}"
    operator  = "="
    value     = "amd64"
  }

  group "otel-gateway" {
    update {
      max_parallel      = 1
      health_check      = "checks"
      min_healthy_time  = "10s"
      healthy_deadline  = "5m"
      progress_deadline = "10m"
      auto_revert       = true
    }

    restart {
      attempts = 3
      interval = "2m"
      delay    = "10s"
      mode     = "fail"
    }

    reschedule {
      delay          = "5s"
      delay_function = "exponential"
      max_delay      = "1m"
      unlimited      = true
    }

    network {
      mode = "host"
      port "http" {
        static = 14318
      }
      port "grpc" {
        static = 14317
      }
      port "metrics" {}
      port "health" {}
      port "telemetry" {}
    }

    volume "data" {
      type   = "host"
      source = "platform-otel-gateway"
    }

    service {
      name     = "otel-gateway"
      provider = "consul"
      port     = "http"
      tags     = ["obsctl.scrape"]

      meta {
        obsctl_stack    = "platform"
        nomad_namespace = "observability"
        metrics_port    = "${NOMAD_PORT_telemetry}"
      }

      check {
        type     = "http"
        port     = "health"
        path     = "/"
        interval = "10s"
        timeout  = "2s"
      }
    }

      # Metrics that were made from spans or came by OTLP.
    service {
      name     = "otlp-metrics"
      provider = "consul"
      port     = "metrics"
      tags     = ["obsctl.scrape"]

      meta {
        obsctl_stack    = "platform"
        nomad_namespace = "observability"
      }

      check {
        type     = "http"
        port     = "health"
        path     = "/"
        interval = "10s"
        timeout  = "2s"
      }
    }

    task "otel-gateway" {
      # What is in memory goes to the backends, or to the queues on disk.
      kill_timeout = "20s"

      env {
        GOMEMLIMIT = "409MiB"
        DATA_DIR   = "/var/lib/otelcol"
      }

      template {
        destination = "local/otel-gateway.yml"
        data        = "{{ key \"obsctl/platform/config/otel-gateway.yml\" }}"
        change_mode = "restart"
      }

      template {
        destination = "local/backends.yml"
        change_mode = "restart"
        wait {
          min = "3s"
          max = "15s"
        }
        data        = <<-EOT
        exporters:
          otlp_grpc/jaeger: {endpoint: "{{ $at := "127.0.0.1:24317" }}{{ range service "jaeger-otlp" }}{{ if eq (index .ServiceMeta "obsctl_stack") "platform" }}{{ $at = printf "%s:%d" (.Address | regexReplaceAll "^(.*:.*)$" "[$1]") .Port }}{{ end }}{{ end }}{{ $at }}"}
          otlp_http/logs: {logs_endpoint: "http://{{ $at := "127.0.0.1:9428" }}{{ range service "victorialogs" }}{{ if eq (index .ServiceMeta "obsctl_stack") "platform" }}{{ $at = printf "%s:%d" (.Address | regexReplaceAll "^(.*:.*)$" "[$1]") .Port }}{{ end }}{{ end }}{{ $at }}/insert/opentelemetry/v1/logs"}
        EOT
      }

      volume_mount {
        volume      = "data"
        destination = "/var/lib/otelcol"
      }

      driver = "docker"

      config {
        image        = "otel/opentelemetry-collector-contrib:0.165.0"
        network_mode = "host"
        work_dir     = "/"
        args = [
          "--config=${NOMAD_TASK_DIR}/otel-gateway.yml",
          "--config=${NOMAD_TASK_DIR}/backends.yml",
        ]
      }

      resources {
        cpu    = 300
        memory = 512
      }
    }
  }
}

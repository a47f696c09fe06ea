job "obs-otel-agent" {
  region      = "global"
  namespace   = "default"
  datacenters = ["*"]
  type        = "system"

  meta {
    obsctl_logs = "none" # what it says about a line must not become another line
  }

  group "otel-agent" {
    update {
      max_parallel      = 10
      health_check      = "checks"
      min_healthy_time  = "2s"
      healthy_deadline  = "5m"
      progress_deadline = "10m"
      auto_revert       = true
    }

    restart {
      attempts = 3
      interval = "2m"
      delay    = "2s"
      mode     = "delay"
    }

    network {
      mode = "host"
      port "http" {
        static = 4318
      }
      port "grpc" {
        static = 4317
      }
      port "health" {}
      port "telemetry" {}
      port "links" {}
    }

    service {
      name     = "otel-agent"
      provider = "consul"
      port     = "http"
      tags     = ["obsctl.scrape"]

      meta {
        obsctl_stack    = "obs"
        nomad_namespace = "default"
        metrics_port    = "${NOMAD_PORT_telemetry}"
      }

      check {
        type     = "http"
        port     = "health"
        path     = "/"
        interval = "1s"
        timeout  = "2s"
      }
    }

    service {
      name     = "log-links"
      provider = "consul"
      port     = "links"
      tags     = ["obsctl.scrape"]

      meta {
        obsctl_stack    = "obs"
        nomad_namespace = "default"
      }

      check {
        type     = "http"
        path     = "/health"
        interval = "1s"
        timeout  = "2s"
      }
    }

    # Names the allocations, whose log files alone do not say which job wrote them, and keeps from the collector what else
    # lies there.
    task "log-links" {
      lifecycle {
        hook    = "prestart"
        sidecar = true
      }

      identity {
        env = true # NOMAD_TOKEN
      }

      driver = "raw_exec"

      config {
        command = "obsctl"
        args = [
          "serve",
          "log-links",
          "--bind=${NOMAD_IP_links}",
          "--port=${NOMAD_PORT_links}",
          "--nomad=http://127.0.0.1:4646",
          "--nomad-socket=${NOMAD_SECRETS_DIR}/api.sock",
          "--node=${node.unique.id}",
          "--allocations=${NOMAD_ALLOC_DIR}/../..",
        ]
      }

      resources {
        cpu    = 50
        memory = 96
      }
    }

    task "otel-agent" {
      kill_timeout = "20s"

      env {
        GOMEMLIMIT = "204MiB"
        LINKS      = "${NOMAD_ALLOC_DIR}/../links"
        DATA_DIR   = "${meta.obsctl_volumes}/obs-otel-agent"
        NODE_ID    = "${node.unique.id}"
        NODE_NAME  = "${node.unique.name}"
        DATACENTER = "${node.datacenter}"
      }

      template {
        destination = "local/otel-agent.yml"
        data        = "{{ key \"obsctl/obs/config/otel-agent.yml\" }}"
        change_mode = "restart"
      }

      template {
        destination = "local/gateway.yml"
        change_mode = "restart"
        wait {
          min = "3s"
          max = "15s"
        }
        data        = <<-EOT
        exporters:
          otlp_http/gateway: {endpoint: "http://{{ $at := "127.0.0.1:14318" }}{{ range service "otel-gateway" }}{{ if eq (index .ServiceMeta "obsctl_stack") "obs" }}{{ $at = printf "%s:%d" (.Address | regexReplaceAll "^(.*:.*)$" "[$1]") .Port }}{{ end }}{{ end }}{{ $at }}"}
        EOT
      }

      driver = "raw_exec"

      config {
        command = "otelcol"
        args = [
          "--config=${NOMAD_TASK_DIR}/otel-agent.yml",
          "--config=${NOMAD_TASK_DIR}/gateway.yml",
        ]
      }

      resources {
        cpu    = 200
        memory = 256
      }
    }
  }
}

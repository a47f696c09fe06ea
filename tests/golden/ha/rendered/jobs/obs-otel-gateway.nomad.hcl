job "obs-otel-gateway" {
  region      = "global"
  namespace   = "default"
  datacenters = ["*"]
  type        = "service"

  group "otel-gateway" {
    count = 3

    constraint {
      operator = "distinct_hosts"
      value    = "true"
    }

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
      source = "obs-otel-gateway"
    }

    service {
      name     = "otel-gateway"
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
        obsctl_stack    = "obs"
        nomad_namespace = "default"
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
        data        = "{{ key \"obsctl/obs/config/otel-gateway.yml\" }}"
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
        exporters: {} # not null: that would be none at all
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

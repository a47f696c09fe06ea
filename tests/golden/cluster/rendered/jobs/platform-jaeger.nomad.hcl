job "platform-jaeger" {
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

  group "jaeger" {
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
        static = 16686
      }
      port "otlp" {
        static = 24317
      }
      port "grpc" {}
      port "health" {}
      port "telemetry" {}
    }

    volume "data" {
      type   = "host"
      source = "platform-jaeger"
    }

    service {
      name     = "jaeger"
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
        path     = "/status"
        interval = "10s"
        timeout  = "2s"
      }
    }

    service {
      name     = "jaeger-otlp"
      provider = "consul"
      port     = "otlp"
      tags     = []

      meta {
        obsctl_stack    = "platform"
        nomad_namespace = "observability"
      }

      check {
        type     = "http"
        port     = "health"
        path     = "/status"
        interval = "10s"
        timeout  = "2s"
      }
    }

    task "jaeger" {
      kill_timeout = "30s"

      env {
        OTEL_TRACES_SAMPLER = "always_off" # else each question to Jaeger becomes a trace in it, and the newest one

        GOMEMLIMIT = "409MiB"
        DATA_DIR   = "/badger"
      }

      template {
        destination = "local/jaeger.yml"
        data        = "{{ key \"obsctl/platform/config/jaeger.yml\" }}"
        change_mode = "restart"
      }

      volume_mount {
        volume      = "data"
        destination = "/badger"
      }

      driver = "docker"

      config {
        image        = "jaegertracing/jaeger:2.20.0"
        network_mode = "host"
        work_dir     = "/"
        args = [
          "--config=${NOMAD_TASK_DIR}/jaeger.yml",
        ]
      }

      resources {
        cpu    = 300
        memory = 512
      }
    }
  }
}

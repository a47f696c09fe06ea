job "obs-traffic" {
  region      = "global"
  namespace   = "default"
  datacenters = ["*"]
  type        = "service"

  meta {
    obsctl_logs = "stderr" # its log lines, which are on stdout, come by OTLP
  }

  group "traffic" {
    update {
      max_parallel      = 1
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
        static = 5051
      }
    }

    service {
      name     = "traffic"
      provider = "consul"
      port     = "http"
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

    task "traffic" {
      kill_timeout = "15s" # requests, traffic's senders, and at last what there is still to send

      template {
        destination = "local/otlp.env"
        env         = true
        data        = <<-EOT
        OTEL_EXPORTER_OTLP_ENDPOINT=http://{{ env "NOMAD_IP_http" | regexReplaceAll "^(.*:.*)$" "[$1]" }}:4318
        EOT
      }

      env {
        OTEL_RESOURCE_ATTRIBUTES    = "nomad.namespace=${NOMAD_NAMESPACE},nomad.job=${NOMAD_JOB_ID},nomad.group=${NOMAD_GROUP_NAME},nomad.task=${NOMAD_TASK_NAME},nomad.alloc.id=${NOMAD_ALLOC_ID},service.instance.id=${NOMAD_ALLOC_ID}"
      }

      driver = "raw_exec"

      config {
        command = "obsctl"
        args = [
          "serve",
          "traffic",
          "--bind=${NOMAD_IP_http}",
          "--port=${NOMAD_PORT_http}",
          "--consul=http://127.0.0.1:8500",
          "--stack=obs",
          "--rate=4.0",
        ]
      }

      resources {
        cpu    = 100
        memory = 128
      }
    }
  }
}

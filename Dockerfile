# docker build -t sclip_seg . && docker run --rm sclip_seg
FROM python:3.12-slim
RUN apt-get update && apt-get install -y --no-install-recommends git make libgl1 libglib2.0-0 && rm -rf /var/lib/apt/lists/*
WORKDIR /sclip_seg
COPY . .
RUN make install
CMD ["make", "demo"]

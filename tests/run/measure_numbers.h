/* Made by measure_numbers.py. */
#define REF_TOP1  0.625
#define REF_TOP5  0.875
#define REF_LOSS  2.4996835506225494
#define TOP1      0.5
#define TOP5      0.875
#define LOSS      2.6404039767709757
#define AGREE     0.625
#define COSINE    0.9647188990367095
#define SQNR      32.36516811763953
#define DROP      0.125
#define DROP_LOW  -0.30885652261319313
#define DROP_HIGH 0.5588565226131932
